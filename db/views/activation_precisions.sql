CREATE VIEW activation_precisions AS
SELECT
    e.study_id, e.study, e.run_id, e.evaluation_id, e.backbone, e.strategy, e.seed, e.guidance,
    score.method, label.ordinal,
    label.code, score.value, score.low, score.high, score.share, score.difference, score.difference_low,
    score.difference_high, score.n, score.reason
FROM study_evaluations AS e
JOIN activation_precision AS score ON score.evaluation_id = e.evaluation_id
LEFT JOIN label ON label.id = score.label_id;
COMMENT ON VIEW activation_precisions IS
'One row per study, run, method and class of lesions: activation precision beside the mask''s share, its chance level';
