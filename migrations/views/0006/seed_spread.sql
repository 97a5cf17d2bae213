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
    e.study_id,
    e.study,
    e.backbone,
    e.strategy,
    e.batch_size,
    e.head_rate,
    e.unit1_rate,
    score.name,
    score.method,
    score.target,
    score.policy,
    score.population,
    score.group_name,
    count(score.value) AS seeds,
    avg(score.value) AS mean,
    min(score.value) AS lowest,
    max(score.value) AS highest
FROM study_evaluations AS e
JOIN score ON score.study_id = e.study_id AND score.evaluation_id = e.evaluation_id
GROUP BY
    e.study_id, e.study, e.backbone, e.strategy, e.batch_size, e.head_rate, e.unit1_rate,
    score.name, score.method, score.target, score.policy, score.population, score.group_name;
COMMENT ON VIEW seed_spread IS
'Every score over the seeds of one cell of the grid: mean and range';
COMMENT ON COLUMN seed_spread.study_id IS 'Number of the study';
COMMENT ON COLUMN seed_spread.study IS 'Name of the study';
COMMENT ON COLUMN seed_spread.backbone IS 'Network';
COMMENT ON COLUMN seed_spread.strategy IS 'Unfreezing: gradual or simultaneous';
COMMENT ON COLUMN seed_spread.batch_size IS 'Patches per step';
COMMENT ON COLUMN seed_spread.head_rate IS 'Learning rate of the linear layer';
COMMENT ON COLUMN seed_spread.unit1_rate IS 'Learning rate of the last convolutional unit';
COMMENT ON COLUMN seed_spread.name IS 'Which score';
COMMENT ON COLUMN seed_spread.method IS 'How maps were made, or the baseline; NULL for classification scores';
COMMENT ON COLUMN seed_spread.target IS 'Class explained; NULL for classification scores';
COMMENT ON COLUMN seed_spread.policy IS 'How maps were thresholded; NULL where none is';
COMMENT ON COLUMN seed_spread.population IS 'Samples counted';
COMMENT ON COLUMN seed_spread.group_name IS 'all, or one label group';
COMMENT ON COLUMN seed_spread.seeds IS 'Runs whose score is defined';
COMMENT ON COLUMN seed_spread.mean IS 'Mean over seeds';
COMMENT ON COLUMN seed_spread.lowest IS 'Lowest over seeds';
COMMENT ON COLUMN seed_spread.highest IS 'Highest over seeds';
