CREATE VIEW seed_spread AS
WITH score AS (
    SELECT
        e.study_id, e.evaluation_id, s.name, s.method, s.target, s.policy, s.population, s.group_name, s.value
    FROM study_evaluations AS e
    JOIN run_score AS s ON s.evaluation_id = e.evaluation_id
    UNION ALL
    SELECT study_id, evaluation_id, name, method, target, policy, population, group_name, value FROM study_score
)
SELECT
    e.study_id, e.study, e.backbone, e.strategy, e.batch_size, e.head_rate, e.unit1_rate, e.guidance, score.name,
    score.method, score.target, score.policy, score.population, score.group_name, count(score.value) AS seeds,
    avg(score.value) AS mean, min(score.value) AS lowest, max(score.value) AS highest
FROM study_evaluations AS e
JOIN score ON score.study_id = e.study_id AND score.evaluation_id = e.evaluation_id
GROUP BY
    e.study_id, e.study, e.backbone, e.strategy, e.batch_size, e.head_rate, e.unit1_rate, e.guidance,
    score.name, score.method, score.target, score.policy, score.population, score.group_name;
COMMENT ON VIEW seed_spread IS 'Every score over the seeds of one cell of the grid: mean and range';
