CREATE VIEW operating_points AS
SELECT
    e.study_id, e.study, e.run_id, e.evaluation_id, e.backbone, e.strategy, e.seed, e.guidance,
    point.question, point.level,
    point.measure, point.at, point.threshold, point.value, point.low, point.high, point.n, point.reason
FROM study_evaluations AS e
JOIN operating_point AS point ON point.evaluation_id = e.evaluation_id;
COMMENT ON VIEW operating_points IS
'AUC, and sensitivity and specificity at thresholds from validation, by lesion, breast and patient';
