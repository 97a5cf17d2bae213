CREATE VIEW validation_scores AS
SELECT
    e.study_id, e.study, e.run_id, e.evaluation_id, e.backbone, e.strategy, e.seed, e.guidance,
    score.loss, score.scaled_loss,
    score.temperature, score.accuracy, score.n
FROM study_evaluations AS e
JOIN validation_score AS score ON score.evaluation_id = e.evaluation_id;
COMMENT ON VIEW validation_scores IS 'Scores of each run on the validation split, by which runs are chosen';
