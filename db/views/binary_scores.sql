CREATE VIEW binary_scores AS
SELECT
    e.study_id, e.study, e.run_id, e.evaluation_id, e.backbone, e.strategy, e.seed, e.guidance,
    split_part(score.name, '_', 1) AS side, split_part(score.name, '_', 2) AS score, score.value, score.low,
    score.high, score.n, score.reason
FROM study_evaluations AS e
JOIN run_score AS score
    ON score.evaluation_id = e.evaluation_id
    AND score.name ~ '^(lesion|malignant|pathology|flips)_(auc|accuracy|sensitivity|specificity)$';
COMMENT ON VIEW binary_scores IS
'Two-class views of the predictions: lesion against background, malignant against benign lesions, also where the classes are neither; flips: by the mean over the four flips of a film, or eight flips and turns of a patch';
