CREATE VIEW class_probabilities AS
SELECT
    e.study_id, e.study, e.run_id, e.evaluation_id, e.backbone, e.strategy, e.seed, e.guidance,
    sample.id AS sample_id, sample.key AS sample_key, truth.code AS true_code, label.ordinal, label.code,
    prediction.probabilities[label.ordinal + 1] AS probability, label.id = sample.label_id AS is_true,
    label.id = prediction.predicted_label_id AS is_predicted
FROM study_evaluations AS e
JOIN prediction ON prediction.evaluation_id = e.evaluation_id
JOIN sample ON sample.id = prediction.sample_id
JOIN label AS truth ON truth.id = sample.label_id
JOIN label ON label.dataset_id = truth.dataset_id;
COMMENT ON VIEW class_probabilities IS 'One row per study, run, test sample and class: the model''s probability';
