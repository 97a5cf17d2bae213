CREATE VIEW quadrants AS
SELECT
    e.study_id, e.study, e.run_id, e.evaluation_id, e.backbone, e.strategy, e.seed,
    coalesce(label.ordinal, -1::smallint) AS ordinal, coalesce(label.code, 'all') AS code, quadrant.correct,
    quadrant.located, quadrant.n, quadrant.lesions, quadrant.proportion, quadrant.low, quadrant.high,
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
