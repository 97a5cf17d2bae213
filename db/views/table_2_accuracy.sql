CREATE VIEW table_2_accuracy AS
SELECT
    e.study_id, e.study, e.run_id, e.evaluation_id, e.backbone, e.strategy, e.batch_size, e.unit1_rate, e.guidance,
    e.seed,
    score.value AS accuracy, score.low, score.high, score.n, best.epoch AS best_epoch, fit.epochs,
    best.validation_loss
FROM study_evaluations AS e
JOIN run_score AS score
    ON score.evaluation_id = e.evaluation_id
    AND score.name = 'accuracy' AND score.population = 'all' AND score.group_name = 'all'
LEFT JOIN checkpoint ON checkpoint.run_id = e.run_id AND checkpoint.role = 'best'
LEFT JOIN epoch AS best ON best.run_id = e.run_id AND best.epoch = checkpoint.epoch
LEFT JOIN LATERAL (SELECT count(*) AS epochs FROM epoch WHERE epoch.run_id = e.run_id) AS fit ON true;
COMMENT ON VIEW table_2_accuracy IS 'Table II: test accuracy of each run, and the epoch its weights come from';
