CREATE VIEW sample_results AS
SELECT
    run.id AS run_id,
    evaluation.id AS evaluation_id,
    run.backbone,
    run.strategy,
    run.seed,
    sample.id AS sample_id,
    sample.key AS patch_key,
    image.key AS image_key,
    image.patient,
    image.laterality,
    image.view,
    lesion.key AS lesion_key,
    image.breast_density,
    lesion.subtlety,
    truth.group_name,
    truth.code AS true_code,
    predicted.code AS predicted_code,
    truth.id = predicted.id AS correct,
    prediction.probabilities[predicted.ordinal + 1] AS confidence,
    prediction.probabilities[truth.ordinal + 1] AS probability_true,
    sample.mask_fraction,
    map.method,
    place.policy,
    place.threshold,
    place.iou,
    map.blank,
    map.hit,
    map.energy,
    map.rank_accuracy,
    map.pixel_ap,
    whole_patch.iou AS whole_patch_iou,
    centred_disc.iou AS centred_disc_iou,
    mean_mask.iou AS mean_mask_iou,
    random_weights.iou AS random_weights_iou,
    place.reason
FROM evaluation
JOIN run ON run.id = evaluation.run_id
JOIN prediction ON prediction.evaluation_id = evaluation.id
JOIN sample ON sample.id = prediction.sample_id
JOIN image ON image.id = sample.image_id
LEFT JOIN lesion ON lesion.id = sample.lesion_id
JOIN label AS truth ON truth.id = sample.label_id
JOIN label AS predicted ON predicted.id = prediction.predicted_label_id
LEFT JOIN activation_map AS map
    ON map.evaluation_id = evaluation.id AND map.sample_id = sample.id
    AND map.method = evaluation.config #>> '{methods,0}' AND map.target = 'predicted'
LEFT JOIN localization AS place
    ON place.evaluation_id = evaluation.id AND place.sample_id = sample.id
    AND place.method = map.method AND place.target = 'predicted' AND place.policy = evaluation.config ->> 'policy'
LEFT JOIN localization AS whole_patch
    ON whole_patch.evaluation_id = evaluation.id AND whole_patch.sample_id = sample.id AND whole_patch.method = 'whole_patch'
    AND whole_patch.target = 'none' AND whole_patch.policy = 'mask'
LEFT JOIN localization AS centred_disc
    ON centred_disc.evaluation_id = evaluation.id AND centred_disc.sample_id = sample.id AND centred_disc.method = 'centred_disc'
    AND centred_disc.target = 'none' AND centred_disc.policy = 'mask'
LEFT JOIN localization AS mean_mask
    ON mean_mask.evaluation_id = evaluation.id AND mean_mask.sample_id = sample.id AND mean_mask.method = 'mean_mask'
    AND mean_mask.target = 'none' AND mean_mask.policy = 'mask'
LEFT JOIN localization AS random_weights
    ON random_weights.evaluation_id = evaluation.id AND random_weights.sample_id = sample.id AND random_weights.method = 'random_weights'
    AND random_weights.target = 'predicted' AND random_weights.policy = evaluation.config ->> 'policy';
COMMENT ON VIEW sample_results IS
'One wide row per evaluated run and test patch: what was said, how sure, and where the headline map looked';
COMMENT ON COLUMN sample_results.run_id IS 'Number of the run';
COMMENT ON COLUMN sample_results.evaluation_id IS 'Number of the evaluation';
COMMENT ON COLUMN sample_results.backbone IS 'Network';
COMMENT ON COLUMN sample_results.strategy IS 'Unfreezing: gradual or simultaneous';
COMMENT ON COLUMN sample_results.seed IS 'Seed of initial head and batch order';
COMMENT ON COLUMN sample_results.sample_id IS 'Number of the patch';
COMMENT ON COLUMN sample_results.patch_key IS 'Name of the patch, the same for the same content';
COMMENT ON COLUMN sample_results.image_key IS 'Image it was cut from';
COMMENT ON COLUMN sample_results.patient IS 'Patient';
COMMENT ON COLUMN sample_results.laterality IS 'Breast side';
COMMENT ON COLUMN sample_results.view IS 'Projection: CC or MLO';
COMMENT ON COLUMN sample_results.lesion_key IS 'Lesion it shows; NULL for background';
COMMENT ON COLUMN sample_results.breast_density IS 'BI-RADS breast density category';
COMMENT ON COLUMN sample_results.subtlety IS 'Radiologist''s rating, 1 subtle to 5 obvious';
COMMENT ON COLUMN sample_results.group_name IS 'Group of the true class';
COMMENT ON COLUMN sample_results.true_code IS 'True class';
COMMENT ON COLUMN sample_results.predicted_code IS 'Most probable class';
COMMENT ON COLUMN sample_results.correct IS 'Whether both are the same';
COMMENT ON COLUMN sample_results.confidence IS 'Probability of the predicted class';
COMMENT ON COLUMN sample_results.probability_true IS 'Probability of the true class';
COMMENT ON COLUMN sample_results.mask_fraction IS 'Share of the window inside the mask; NULL for background';
COMMENT ON COLUMN sample_results.method IS 'How the map was made';
COMMENT ON COLUMN sample_results.policy IS 'How it was thresholded';
COMMENT ON COLUMN sample_results.threshold IS 'Threshold used';
COMMENT ON COLUMN sample_results.iou IS 'IoU of the map for the predicted class with the mask; NULL with a reason';
COMMENT ON COLUMN sample_results.blank IS 'Whether the map has no positive value';
COMMENT ON COLUMN sample_results.hit IS 'Whether the map''s maximum lies in the mask';
COMMENT ON COLUMN sample_results.energy IS 'Share of the map''s sum inside the mask';
COMMENT ON COLUMN sample_results.rank_accuracy IS 'Share of the strongest |mask| pixels inside the mask';
COMMENT ON COLUMN sample_results.pixel_ap IS 'Average precision of the map as a pixel classifier';
COMMENT ON COLUMN sample_results.whole_patch_iou IS 'IoU of the whole patch with the mask';
COMMENT ON COLUMN sample_results.centred_disc_iou IS 'IoU of a centred disc';
COMMENT ON COLUMN sample_results.mean_mask_iou IS 'IoU of the training split''s mean mask';
COMMENT ON COLUMN sample_results.random_weights_iou IS 'IoU of the same network with random weights';
COMMENT ON COLUMN sample_results.reason IS 'Why iou is NULL or zero';
