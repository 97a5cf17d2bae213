-- The tables themselves, in an order that starts at the run: over sample_results the planner went through all runs.
CREATE VIEW occlusion_samples AS
SELECT
    e.study_id, e.study, e.run_id, e.evaluation_id, e.backbone, e.strategy, e.seed, e.guidance,
    sample.id AS sample_id, sample.key AS sample_key, image.patient, truth.group_name, truth.code AS true_code,
    predicted.code AS predicted_code, truth.id = predicted.id AS correct, map.hit, place.iou, occlusion.variant,
    said.probability, said.lesion_occluded, said.control_occluded,
    said.probability - said.lesion_occluded AS lesion_drop,
    said.probability - said.control_occluded AS control_drop,
    said.control_occluded - said.lesion_occluded AS difference,
    occlusion.places, occlusion.lesion_change, occlusion.control_change, occlusion.reason
FROM study_evaluations AS e
JOIN evaluation ON evaluation.id = e.evaluation_id
JOIN occlusion ON occlusion.evaluation_id = e.evaluation_id
JOIN prediction ON prediction.evaluation_id = e.evaluation_id AND prediction.sample_id = occlusion.sample_id
JOIN sample ON sample.id = occlusion.sample_id
JOIN image ON image.id = sample.image_id
JOIN label AS truth ON truth.id = sample.label_id
JOIN label AS predicted ON predicted.id = prediction.predicted_label_id
CROSS JOIN LATERAL (
    SELECT
        prediction.probabilities[predicted.ordinal + 1]::double precision AS probability,
        occlusion.lesion_probabilities[predicted.ordinal + 1]::double precision AS lesion_occluded,
        occlusion.control_probabilities[predicted.ordinal + 1]::double precision AS control_occluded
) AS said
LEFT JOIN activation_map AS map
    ON map.evaluation_id = e.evaluation_id AND map.sample_id = occlusion.sample_id
    AND map.method = evaluation.config #>> '{methods,0}' AND map.target = 'predicted'
LEFT JOIN localization AS place
    ON place.evaluation_id = e.evaluation_id AND place.sample_id = occlusion.sample_id
    AND place.method = map.method AND place.target = 'predicted' AND place.policy = evaluation.config ->> 'policy';
COMMENT ON VIEW occlusion_samples IS
'Occlusion test by sample and variant: the predicted class''s probability with the lesion, and a control, filled in';
