CREATE VIEW leak_checks AS
SELECT
    study.id AS study_id, study.name AS study, split_check.entity, split_check.split_a, split_check.split_b,
    split_check.shared, split_check.shared = 0 AS passed, split_check.examples
FROM study
JOIN split_check ON split_check.sample_set_id = study.sample_set_id;
COMMENT ON VIEW leak_checks IS 'One row per study, entity and two splits: how many are in both splits';
