CREATE VIEW map_scores AS
SELECT
    e.study_id,
    e.study,
    e.run_id,
    e.evaluation_id,
    e.backbone,
    e.strategy,
    e.seed,
    sample.id AS sample_id,
    sample.key AS patch_key,
    image.patient,
    truth.code AS true_code,
    prediction.predicted_label_id = sample.label_id AS correct,
    sample.mask_fraction,
    map.method,
    map.target,
    explained.code AS explained_code,
    map.layer,
    place.policy,
    place.threshold,
    place.iou,
    map.hit,
    map.energy,
    map.rank_accuracy,
    map.pixel_ap,
    map.blank,
    map.iou_curve,
    map.rows AS grid_rows,
    map.cols AS grid_cols,
    map.grid,
    place.reason
FROM study_evaluations AS e
JOIN activation_map AS map ON map.evaluation_id = e.evaluation_id
JOIN localization AS place
    ON place.evaluation_id = map.evaluation_id AND place.sample_id = map.sample_id
    AND place.method = map.method AND place.target = map.target
JOIN prediction ON prediction.evaluation_id = map.evaluation_id AND prediction.sample_id = map.sample_id
JOIN sample ON sample.id = map.sample_id
JOIN image ON image.id = sample.image_id
JOIN label AS truth ON truth.id = sample.label_id
LEFT JOIN label AS explained ON explained.id = map.label_id;
COMMENT ON VIEW map_scores IS 'One row per study, run, test patch, map method, target and threshold policy: where the map looked; baselines are methods too';
COMMENT ON COLUMN map_scores.study_id IS 'Number of the study';
COMMENT ON COLUMN map_scores.study IS 'Name of the study';
COMMENT ON COLUMN map_scores.run_id IS 'Number of the run';
COMMENT ON COLUMN map_scores.evaluation_id IS 'Number of the evaluation';
COMMENT ON COLUMN map_scores.backbone IS 'Network';
COMMENT ON COLUMN map_scores.strategy IS 'Unfreezing: gradual or simultaneous';
COMMENT ON COLUMN map_scores.seed IS 'Seed of initial head and batch order';
COMMENT ON COLUMN map_scores.sample_id IS 'Number of the patch';
COMMENT ON COLUMN map_scores.patch_key IS 'Name of the patch';
COMMENT ON COLUMN map_scores.patient IS 'Patient';
COMMENT ON COLUMN map_scores.true_code IS 'True class';
COMMENT ON COLUMN map_scores.correct IS 'Whether the true class was predicted';
COMMENT ON COLUMN map_scores.mask_fraction IS 'Share of the window inside the mask; NULL for background';
COMMENT ON COLUMN map_scores.method IS 'How the map was made, or the baseline';
COMMENT ON COLUMN map_scores.target IS 'Class explained: predicted, true, or none for baselines without a model';
COMMENT ON COLUMN map_scores.explained_code IS 'That class; NULL where target is none';
COMMENT ON COLUMN map_scores.layer IS 'Layer the map was taken from';
COMMENT ON COLUMN map_scores.policy IS 'How the map was thresholded: fixed, otsu, validation, area; mask for baselines that are masks';
COMMENT ON COLUMN map_scores.threshold IS 'Threshold used; NULL where the policy has none';
COMMENT ON COLUMN map_scores.iou IS 'IoU with the lesion mask; NULL with a reason';
COMMENT ON COLUMN map_scores.hit IS 'Whether the map''s maximum lies in the mask';
COMMENT ON COLUMN map_scores.energy IS 'Share of the map''s sum inside the mask';
COMMENT ON COLUMN map_scores.rank_accuracy IS 'Share of the strongest |mask| pixels inside the mask';
COMMENT ON COLUMN map_scores.pixel_ap IS 'Average precision of the map as a pixel classifier';
COMMENT ON COLUMN map_scores.blank IS 'Whether the map has no positive value';
COMMENT ON COLUMN map_scores.iou_curve IS 'IoU at thresholds 0.05, 0.10, ... 0.95';
COMMENT ON COLUMN map_scores.grid_rows IS 'Rows of the grid';
COMMENT ON COLUMN map_scores.grid_cols IS 'Columns of the grid';
COMMENT ON COLUMN map_scores.grid IS 'Raw map at the layer''s resolution, row by row, before ReLU and scaling';
COMMENT ON COLUMN map_scores.reason IS 'Why iou is NULL or zero';
