CREATE VIEW leak_checks AS
SELECT
    study.id AS study_id,
    study.name AS study,
    split_check.unit,
    split_check.split_a,
    split_check.split_b,
    split_check.shared,
    split_check.shared = 0 AS passed,
    split_check.examples
FROM study
JOIN split_check ON split_check.sample_set_id = study.sample_set_id;
COMMENT ON VIEW leak_checks IS 'One row per study, unit and two splits: what both splits hold';
COMMENT ON COLUMN leak_checks.study_id IS 'Number of the study';
COMMENT ON COLUMN leak_checks.study IS 'Name of the study';
COMMENT ON COLUMN leak_checks.unit IS 'What must not be shared: patient, image or lesion';
COMMENT ON COLUMN leak_checks.split_a IS 'One split';
COMMENT ON COLUMN leak_checks.split_b IS 'The other split';
COMMENT ON COLUMN leak_checks.shared IS 'How many units both splits hold';
COMMENT ON COLUMN leak_checks.passed IS 'Whether they hold none';
COMMENT ON COLUMN leak_checks.examples IS 'At most ten of the shared units';
