CREATE VIEW froc_curves AS
SELECT
    e.study_id, e.study, e.run_id, e.evaluation_id, e.backbone, e.strategy, e.seed, e.guidance,
    score.method, score.criterion,
    score.group_name, score.at AS false_marks, score.value AS sensitivity, score.low, score.high, score.n, score.reason
FROM study_evaluations AS e
JOIN detection_score AS score ON score.evaluation_id = e.evaluation_id AND score.measure = 'sensitivity';
COMMENT ON VIEW froc_curves IS 'Proportion of lesions found against false marks per film';
