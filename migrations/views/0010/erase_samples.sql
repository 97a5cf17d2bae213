-- The tables themselves, in an order that starts at the run: over sample_results the planner went through all runs.
CREATE OR REPLACE VIEW erase_samples AS
SELECT
    e.study_id,
    e.study,
    e.run_id,
    e.evaluation_id,
    e.backbone,
    e.strategy,
    e.seed,
    patch.id AS patch_id,
    patch.key AS patch_key,
    image.patient,
    truth.group_name,
    truth.code AS true_code,
    predicted.code AS predicted_code,
    truth.id = predicted.id AS correct,
    map.hit,
    place.iou,
    erasure.probability,
    erasure.lesion_erased,
    erasure.control_erased,
    erasure.probability - erasure.lesion_erased AS lesion_drop,
    erasure.probability - erasure.control_erased AS control_drop,
    erasure.control_erased - erasure.lesion_erased AS difference,
    erasure.reason
FROM study_evaluations AS e
JOIN evaluation ON evaluation.id = e.evaluation_id
JOIN erasure ON erasure.evaluation_id = e.evaluation_id
JOIN prediction ON prediction.evaluation_id = e.evaluation_id AND prediction.patch_id = erasure.patch_id
JOIN patch ON patch.id = erasure.patch_id
JOIN image ON image.id = patch.image_id
JOIN label AS truth ON truth.id = patch.label_id
JOIN label AS predicted ON predicted.id = prediction.predicted_label_id
LEFT JOIN explanation AS map
    ON map.evaluation_id = e.evaluation_id AND map.patch_id = erasure.patch_id
    AND map.method = evaluation.config #>> '{methods,0}' AND map.target = 'predicted'
LEFT JOIN localization AS place
    ON place.evaluation_id = e.evaluation_id AND place.patch_id = erasure.patch_id
    AND place.method = map.method AND place.target = 'predicted' AND place.policy = evaluation.config ->> 'policy';
