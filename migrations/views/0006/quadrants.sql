CREATE VIEW quadrants AS
SELECT
    e.study_id,
    e.study,
    e.run_id,
    e.evaluation_id,
    e.backbone,
    e.strategy,
    e.seed,
    coalesce(label.ordinal, -1::smallint) AS ordinal,
    coalesce(label.code, 'all') AS code,
    quadrant.correct,
    quadrant.located,
    quadrant.n,
    quadrant.lesions,
    quadrant.share,
    quadrant.low,
    quadrant.high,
    ARRAY(
        SELECT sample.id
        FROM prediction
        JOIN sample ON sample.id = prediction.sample_id
        JOIN activation_map AS map
            ON map.evaluation_id = prediction.evaluation_id AND map.sample_id = sample.id AND map.hit = quadrant.located
            AND map.method = evaluation.config #>> '{methods,0}' AND map.target = 'predicted'
        WHERE
            prediction.evaluation_id = e.evaluation_id
            AND (quadrant.label_id IS NULL OR sample.label_id = quadrant.label_id)
            AND (sample.label_id = prediction.predicted_label_id) = quadrant.correct
        ORDER BY sample.id
    ) AS sample_ids
FROM study_evaluations AS e
JOIN evaluation ON evaluation.id = e.evaluation_id
JOIN quadrant ON quadrant.evaluation_id = e.evaluation_id
LEFT JOIN label ON label.id = quadrant.label_id;
COMMENT ON VIEW quadrants IS
'Correct or not, located or not, by class; correct but not located is right for the wrong reason';
COMMENT ON COLUMN quadrants.study_id IS 'Number of the study';
COMMENT ON COLUMN quadrants.study IS 'Name of the study';
COMMENT ON COLUMN quadrants.run_id IS 'Number of the run';
COMMENT ON COLUMN quadrants.evaluation_id IS 'Number of the evaluation';
COMMENT ON COLUMN quadrants.backbone IS 'Network';
COMMENT ON COLUMN quadrants.strategy IS 'Unfreezing: gradual or simultaneous';
COMMENT ON COLUMN quadrants.seed IS 'Seed of initial head and batch order';
COMMENT ON COLUMN quadrants.ordinal IS 'Position of the class; -1 for all lesions';
COMMENT ON COLUMN quadrants.code IS 'Code of the class, or all';
COMMENT ON COLUMN quadrants.correct IS 'Whether the class was predicted';
COMMENT ON COLUMN quadrants.located IS 'Whether the headline map''s maximum lies in the mask';
COMMENT ON COLUMN quadrants.n IS 'Lesions in the quadrant';
COMMENT ON COLUMN quadrants.lesions IS 'Scored lesions of the class';
COMMENT ON COLUMN quadrants.share IS 'n / lesions';
COMMENT ON COLUMN quadrants.low IS 'Lower end of the interval';
COMMENT ON COLUMN quadrants.high IS 'Upper end of the interval';
COMMENT ON COLUMN quadrants.sample_ids IS 'The quadrant''s patches';
