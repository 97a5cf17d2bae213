CREATE VIEW run_scores AS
SELECT
    e.study_id, e.study, e.run_id, e.evaluation_id, e.backbone, e.strategy, e.seed, e.guidance,
    score.name AS score, score.method, score.target, score.policy, score.population, score.group_name, score.value,
    score.low, score.high, score.n, score.reason
FROM study_evaluations AS e
JOIN run_score AS score ON score.evaluation_id = e.evaluation_id;
COMMENT ON VIEW run_scores IS 'One row per study, run and score of the test split or a population of it';
