CREATE VIEW prototypes AS
SELECT
    e.study_id, e.study, e.run_id, e.evaluation_id, e.backbone, e.strategy, e.seed, e.guidance,
    p.number, label.ordinal, label.code, p.kept, p.source_id,
    source.key AS source_key, image.key AS image_key, image.patient, p."row", p.col, p.rows, p.cols,
    p.weights[label.ordinal + 1] AS weight, p.weights, p.neighbours, p.distances, p.purity, p.coverage, p.value,
    p.low, p.high, p.share, p.n, p.reason,
    count(*) OVER (PARTITION BY p.evaluation_id, p.source_id, p.kept) AS same_source
FROM study_evaluations AS e
JOIN prototype AS p ON p.evaluation_id = e.evaluation_id
JOIN label ON label.id = p.label_id
JOIN sample AS source ON source.id = p.source_id
JOIN image ON image.id = source.image_id;
COMMENT ON VIEW prototypes IS
'One row per study, run and prototype: the training case that it is, its weights, and how well it is one';
