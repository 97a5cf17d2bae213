CREATE VIEW iou_curves AS
SELECT
    e.study_id,
    e.study,
    e.run_id,
    e.evaluation_id,
    e.backbone,
    e.strategy,
    e.seed,
    curve.method,
    curve.target,
    curve.population,
    curve.group_name,
    curve.threshold,
    curve.iou,
    curve.low,
    curve.high,
    curve.n,
    curve.reason
FROM study_evaluations AS e
JOIN iou_curve AS curve ON curve.evaluation_id = e.evaluation_id;
COMMENT ON VIEW iou_curves IS
'Mean IoU against the threshold, maps and baselines';
COMMENT ON COLUMN iou_curves.study_id IS 'Number of the study';
COMMENT ON COLUMN iou_curves.study IS 'Name of the study';
COMMENT ON COLUMN iou_curves.run_id IS 'Number of the run';
COMMENT ON COLUMN iou_curves.evaluation_id IS 'Number of the evaluation';
COMMENT ON COLUMN iou_curves.backbone IS 'Network';
COMMENT ON COLUMN iou_curves.strategy IS 'Unfreezing: gradual or simultaneous';
COMMENT ON COLUMN iou_curves.seed IS 'Seed of initial head and batch order';
COMMENT ON COLUMN iou_curves.method IS 'How maps were made, or the baseline';
COMMENT ON COLUMN iou_curves.target IS 'Class explained: predicted, true, or none for baselines';
COMMENT ON COLUMN iou_curves.population IS 'correct_lesions or lesions';
COMMENT ON COLUMN iou_curves.group_name IS 'all, or one label group';
COMMENT ON COLUMN iou_curves.threshold IS 'Where maps are cut';
COMMENT ON COLUMN iou_curves.iou IS 'Mean IoU with the mask';
COMMENT ON COLUMN iou_curves.low IS 'Lower end of the interval';
COMMENT ON COLUMN iou_curves.high IS 'Upper end of the interval';
COMMENT ON COLUMN iou_curves.n IS 'Lesions counted';
COMMENT ON COLUMN iou_curves.reason IS 'Why iou is NULL';
