CREATE VIEW sample_results AS
SELECT
    e.study_id, e.study, e.run_id, e.evaluation_id, e.backbone, e.strategy, e.seed, e.guidance,
    sample.id AS sample_id, sample.key AS sample_key, image.key AS image_key, image.patient, image.laterality,
    image.view, lesion.key AS lesion_key, image.breast_density, lesion.subtlety, truth.group_name,
    truth.code AS true_code, predicted.code AS predicted_code, truth.id = predicted.id AS correct,
    prediction.probabilities[predicted.ordinal + 1] AS confidence,
    prediction.probabilities[truth.ordinal + 1] AS probability_true, sample.mask_fraction, map.method, place.policy,
    place.threshold, place.iou, map.blank, map.hit, map.energy, map.rank_accuracy, map.pixel_ap, map.lift,
    whole_patch.iou AS whole_patch_iou, centred_disc.iou AS centred_disc_iou, mean_mask.iou AS mean_mask_iou,
    random_weights.iou AS random_weights_iou, dealt_maps.iou AS dealt_maps_iou, place.reason
FROM study_evaluations AS e
JOIN evaluation ON evaluation.id = e.evaluation_id
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
    ON whole_patch.evaluation_id = evaluation.id AND whole_patch.sample_id = sample.id
    AND whole_patch.method = 'whole_patch' AND whole_patch.target = 'none' AND whole_patch.policy = 'mask'
LEFT JOIN localization AS centred_disc
    ON centred_disc.evaluation_id = evaluation.id AND centred_disc.sample_id = sample.id
    AND centred_disc.method = 'centred_disc' AND centred_disc.target = 'none' AND centred_disc.policy = 'mask'
LEFT JOIN localization AS mean_mask
    ON mean_mask.evaluation_id = evaluation.id AND mean_mask.sample_id = sample.id
    AND mean_mask.method = 'mean_mask' AND mean_mask.target = 'none' AND mean_mask.policy = 'mask'
LEFT JOIN localization AS random_weights
    ON random_weights.evaluation_id = evaluation.id AND random_weights.sample_id = sample.id
    AND random_weights.method = 'random_weights' AND random_weights.target = 'predicted'
    AND random_weights.policy = evaluation.config ->> 'policy'
LEFT JOIN localization AS dealt_maps
    ON dealt_maps.evaluation_id = evaluation.id AND dealt_maps.sample_id = sample.id
    AND dealt_maps.method = 'dealt_maps' AND dealt_maps.target = 'predicted'
    AND dealt_maps.policy = evaluation.config ->> 'policy';
COMMENT ON VIEW sample_results IS
'One row per study, evaluated run and test sample: predicted class, confidence, and how well the headline map meets the mask';
