CREATE VIEW confusion_matrix AS
SELECT
    e.study_id,
    e.study,
    e.run_id,
    e.evaluation_id,
    truth.ordinal AS true_ordinal,
    truth.code AS true_code,
    predicted.ordinal AS predicted_ordinal,
    predicted.code AS predicted_code,
    coalesce(cell.count, 0) AS count,
    coalesce(cell.count, 0)::double precision
    / nullif(sum(coalesce(cell.count, 0)) OVER (PARTITION BY e.study_id, e.evaluation_id, truth.id), 0)::double precision
    AS row_fraction
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
    ON cell.evaluation_id = e.evaluation_id AND cell.label_id = truth.id AND cell.predicted_label_id = predicted.id;
COMMENT ON VIEW confusion_matrix IS 'Test samples by true and predicted class, for each run of a study';
COMMENT ON COLUMN confusion_matrix.study_id IS 'Number of the study';
COMMENT ON COLUMN confusion_matrix.study IS 'Name of the study';
COMMENT ON COLUMN confusion_matrix.run_id IS 'Number of the run';
COMMENT ON COLUMN confusion_matrix.evaluation_id IS 'Number of the evaluation';
COMMENT ON COLUMN confusion_matrix.true_ordinal IS 'Position of the true class';
COMMENT ON COLUMN confusion_matrix.true_code IS 'True class';
COMMENT ON COLUMN confusion_matrix.predicted_ordinal IS 'Position of the predicted class';
COMMENT ON COLUMN confusion_matrix.predicted_code IS 'Predicted class';
COMMENT ON COLUMN confusion_matrix.count IS 'Test samples; zero cells are there too';
COMMENT ON COLUMN confusion_matrix.row_fraction IS 'Share of the true class; NULL where it has no test sample';
