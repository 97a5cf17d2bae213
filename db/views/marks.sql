CREATE VIEW marks AS
SELECT
    e.study_id, e.study, e.run_id, e.evaluation_id, e.backbone, e.strategy, e.seed, e.guidance,
    mark.sample_id, image.patient,
    image.key AS image_key, mark.method, mark.rank, mark.x, mark.y, mark.x0, mark.y0, mark.x1, mark.y1, mark.score,
    label.code, mark.strongest, mark.on_lesion
FROM study_evaluations AS e
JOIN mark ON mark.evaluation_id = e.evaluation_id
JOIN sample ON sample.id = mark.sample_id
JOIN image ON image.id = sample.image_id
LEFT JOIN label ON label.id = mark.label_id;
COMMENT ON VIEW marks IS 'Boxes of detectors and peaks of maps on films, in the pixels of the sample';
