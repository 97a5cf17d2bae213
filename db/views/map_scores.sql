CREATE VIEW map_scores AS
SELECT
    e.study_id, e.study, e.run_id, e.evaluation_id, e.backbone, e.strategy, e.seed, e.guidance,
    sample.id AS sample_id, sample.key AS sample_key, image.patient, truth.code AS true_code,
    prediction.predicted_label_id = sample.label_id AS correct, sample.mask_fraction, map.method, map.target,
    explained.code AS explained_code, map.layer, place.policy, place.threshold, place.iou, map.hit, map.energy,
    map.rank_accuracy, map.pixel_ap, map.top5, map.lift, map.blank, map.iou_curve, map.rows AS grid_rows,
    map.cols AS grid_cols,
    map.grid, place.reason
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
COMMENT ON VIEW map_scores IS
'One row per study, run, test sample, method (baselines included), target and policy: map and scores';
