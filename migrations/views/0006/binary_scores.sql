CREATE VIEW binary_scores AS
SELECT
    e.study_id,
    e.study,
    e.run_id,
    e.evaluation_id,
    e.backbone,
    e.strategy,
    e.seed,
    split_part(score.name, '_', 1) AS side,
    split_part(score.name, '_', 2) AS score,
    score.value,
    score.low,
    score.high,
    score.n,
    score.reason
FROM study_evaluations AS e
JOIN run_score AS score
    ON score.evaluation_id = e.evaluation_id
    AND score.name ~ '^(lesion|malignant)_(auc|accuracy|sensitivity|specificity)$';
COMMENT ON VIEW binary_scores IS
'Two-class views of the predictions: lesion against background, malignant against benign lesions';
COMMENT ON COLUMN binary_scores.study_id IS 'Number of the study';
COMMENT ON COLUMN binary_scores.study IS 'Name of the study';
COMMENT ON COLUMN binary_scores.run_id IS 'Number of the run';
COMMENT ON COLUMN binary_scores.evaluation_id IS 'Number of the evaluation';
COMMENT ON COLUMN binary_scores.backbone IS 'Network';
COMMENT ON COLUMN binary_scores.strategy IS 'Unfreezing: gradual or simultaneous';
COMMENT ON COLUMN binary_scores.seed IS 'Seed of initial head and batch order';
COMMENT ON COLUMN binary_scores.side IS 'Positive side: lesion or malignant';
COMMENT ON COLUMN binary_scores.score IS 'auc, accuracy, sensitivity or specificity';
COMMENT ON COLUMN binary_scores.value IS 'The score';
COMMENT ON COLUMN binary_scores.low IS 'Lower end of the interval';
COMMENT ON COLUMN binary_scores.high IS 'Upper end of the interval';
COMMENT ON COLUMN binary_scores.n IS 'Samples counted';
COMMENT ON COLUMN binary_scores.reason IS 'Why value is NULL';
