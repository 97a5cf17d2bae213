CREATE VIEW quadrants AS
SELECT
    e.study_id, e.study, e.run_id, e.evaluation_id, e.backbone, e.strategy, e.seed, e.guidance,
    coalesce(label.ordinal, -1::smallint) AS ordinal, coalesce(label.code, 'all') AS code, quadrant.correct,
    quadrant.located, quadrant.n, quadrant.lesions, quadrant.proportion, quadrant.low, quadrant.high
FROM study_evaluations AS e
JOIN quadrant ON quadrant.evaluation_id = e.evaluation_id
LEFT JOIN label ON label.id = quadrant.label_id;
COMMENT ON VIEW quadrants IS
'Correct or not, located or not, by class; correct but not located is right for the wrong reason';
