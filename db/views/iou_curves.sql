CREATE VIEW iou_curves AS
SELECT
    e.study_id, e.study, e.run_id, e.evaluation_id, e.backbone, e.strategy, e.seed, e.guidance,
    curve.method, curve.target, curve.population, curve.group_name, curve.threshold, curve.iou, curve.low,
    curve.high, curve.n, curve.reason
FROM study_evaluations AS e
JOIN iou_curve AS curve ON curve.evaluation_id = e.evaluation_id;
COMMENT ON VIEW iou_curves IS 'Mean IoU against the threshold, maps and baselines';
