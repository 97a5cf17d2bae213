CREATE VIEW prototype_matches AS
SELECT
    e.study_id, e.study, e.run_id, e.evaluation_id, e.backbone, e.strategy, e.seed, e.guidance,
    sample.id AS sample_id, sample.key AS sample_key, image.patient,
    truth.code AS true_code, predicted.code AS predicted_code, truth.id = predicted.id AS correct, p.number,
    owner.code AS prototype_code, p.source_id, source.key AS source_key, match."row", match.col, match.similarity,
    p.weights[predicted.ordinal + 1] AS weight, match.similarity * p.weights[predicted.ordinal + 1] AS points,
    match.iou, match.energy, match.top5, match.hit, match.reason
FROM study_evaluations AS e
JOIN prototype_match AS match ON match.evaluation_id = e.evaluation_id
JOIN prototype AS p ON p.evaluation_id = match.evaluation_id AND p.number = match.number
JOIN prediction ON prediction.evaluation_id = match.evaluation_id AND prediction.sample_id = match.sample_id
JOIN sample ON sample.id = match.sample_id
JOIN image ON image.id = sample.image_id
JOIN label AS truth ON truth.id = sample.label_id
JOIN label AS predicted ON predicted.id = prediction.predicted_label_id
JOIN label AS owner ON owner.id = p.label_id
JOIN sample AS source ON source.id = p.source_id;
COMMENT ON VIEW prototype_matches IS
'One row per study, run, test sample and prototype that was kept: likeness, where, and its points for the predicted class';
