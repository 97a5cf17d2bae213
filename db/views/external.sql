CREATE VIEW external AS
SELECT
    e.study_id, e.study, e.run_id, e.evaluation_id, e.backbone, e.strategy, e.seed, e.guidance,
    other.evaluation_id AS other_id,
    dataset.name AS other_dataset, other.is_external, cardinality(other.shared_images) AS shared_images,
    cardinality(other.shared_patients) AS shared_patients, other.left_out, other.missing_classes, score.measure,
    score.internal, score.internal_low, score.internal_high, score.internal_n, score.internal_patients,
    score.external, score.external_low, score.external_high, score.external_n, score.external_patients,
    score.difference, score.difference_low, score.difference_high, score.reason
FROM study_evaluations AS e
JOIN external_evaluation AS other ON other.internal_id = e.evaluation_id
JOIN sample_set ON sample_set.id = other.sample_set_id
JOIN dataset ON dataset.id = sample_set.dataset_id
JOIN external_score AS score ON score.evaluation_id = other.evaluation_id;
COMMENT ON VIEW external IS
'One row per study, run, other data set and measure: the run''s own test split, the other set, and their difference';
