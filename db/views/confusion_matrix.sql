CREATE VIEW confusion_matrix AS
SELECT
    e.study_id, e.study, e.run_id, e.evaluation_id, e.backbone, e.strategy, e.seed, e.guidance,
    truth.ordinal AS true_ordinal, truth.code AS true_code,
    predicted.ordinal AS predicted_ordinal, predicted.code AS predicted_code, coalesce(cell.count, 0) AS count,
    coalesce(cell.count, 0)::double precision
    / nullif(sum(cell.count) OVER (PARTITION BY e.study_id, e.evaluation_id, truth.id), 0)::double precision
    AS row_fraction, bounds.low, bounds.high
FROM study_evaluations AS e
JOIN study ON study.id = e.study_id
JOIN sample_set ON sample_set.id = study.sample_set_id
JOIN label AS truth ON truth.dataset_id = sample_set.dataset_id
JOIN label AS predicted ON predicted.dataset_id = sample_set.dataset_id
LEFT JOIN (
    SELECT prediction.evaluation_id, sample.label_id, prediction.predicted_label_id, count(*) AS count
    FROM prediction
    JOIN sample ON sample.id = prediction.sample_id
    GROUP BY prediction.evaluation_id, sample.label_id, prediction.predicted_label_id
) AS cell
    ON cell.evaluation_id = e.evaluation_id AND cell.label_id = truth.id AND cell.predicted_label_id = predicted.id
LEFT JOIN confusion_interval AS bounds
    ON bounds.evaluation_id = e.evaluation_id
    AND bounds.label_id = truth.id AND bounds.predicted_label_id = predicted.id;
COMMENT ON VIEW confusion_matrix IS 'Test samples by true and predicted class, for each run of a study';
