CREATE VIEW leak_checks AS
SELECT
    study.id AS study_id,
    study.name AS study,
    split_check.unit,
    split_check.part_a,
    split_check.part_b,
    split_check.shared,
    split_check.shared = 0 AS passed,
    split_check.examples
FROM study
JOIN split_check ON split_check.patch_set_id = study.patch_set_id;
COMMENT ON VIEW leak_checks IS 'One row per study, unit and two parts: what both parts hold';
COMMENT ON COLUMN leak_checks.study_id IS 'Number of the study';
COMMENT ON COLUMN leak_checks.study IS 'Name of the study';
COMMENT ON COLUMN leak_checks.unit IS 'What must not be shared: patient, image or lesion';
COMMENT ON COLUMN leak_checks.part_a IS 'One part';
COMMENT ON COLUMN leak_checks.part_b IS 'The other part';
COMMENT ON COLUMN leak_checks.shared IS 'How many units both parts hold';
COMMENT ON COLUMN leak_checks.passed IS 'Whether they hold none';
COMMENT ON COLUMN leak_checks.examples IS 'At most ten of the shared units';
