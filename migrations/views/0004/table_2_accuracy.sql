CREATE VIEW table_2_accuracy AS
SELECT
    e.study_id,
    e.study,
    e.run_id,
    e.evaluation_id,
    e.backbone,
    e.strategy,
    e.batch_size,
    e.unit1_rate,
    e.seed,
    score.value AS accuracy,
    score.low,
    score.high,
    score.n,
    best.epoch AS best_epoch,
    fit.epochs,
    best.validation_loss
FROM study_evaluations AS e
JOIN run_score AS score
    ON score.evaluation_id = e.evaluation_id
    AND score.name = 'accuracy' AND score.population = 'all' AND score.group_name = 'all'
LEFT JOIN LATERAL (
    SELECT epoch.epoch, epoch.validation_loss FROM epoch WHERE epoch.run_id = e.run_id
    ORDER BY epoch.validation_loss, epoch.epoch LIMIT 1
) AS best ON true
LEFT JOIN LATERAL (SELECT count(*) AS epochs FROM epoch WHERE epoch.run_id = e.run_id) AS fit ON true;
COMMENT ON VIEW table_2_accuracy IS 'Table II: test accuracy of each run, and the epoch its weights come from';
COMMENT ON COLUMN table_2_accuracy.study_id IS 'Number of the study';
COMMENT ON COLUMN table_2_accuracy.study IS 'Name of the study';
COMMENT ON COLUMN table_2_accuracy.run_id IS 'Number of the run';
COMMENT ON COLUMN table_2_accuracy.evaluation_id IS 'Number of the evaluation';
COMMENT ON COLUMN table_2_accuracy.backbone IS 'Network';
COMMENT ON COLUMN table_2_accuracy.strategy IS 'Unfreezing: gradual or simultaneous';
COMMENT ON COLUMN table_2_accuracy.batch_size IS 'Patches per step';
COMMENT ON COLUMN table_2_accuracy.unit1_rate IS 'Learning rate of the last convolutional unit';
COMMENT ON COLUMN table_2_accuracy.seed IS 'Seed of initial head and batch order';
COMMENT ON COLUMN table_2_accuracy.accuracy IS 'Share of the test split classified correctly';
COMMENT ON COLUMN table_2_accuracy.low IS 'Lower end of the interval';
COMMENT ON COLUMN table_2_accuracy.high IS 'Upper end of the interval';
COMMENT ON COLUMN table_2_accuracy.n IS 'Samples in the test split';
COMMENT ON COLUMN table_2_accuracy.best_epoch IS 'Epoch of lowest validation loss';
COMMENT ON COLUMN table_2_accuracy.epochs IS 'Epochs trained in all';
COMMENT ON COLUMN table_2_accuracy.validation_loss IS 'Lowest validation loss';
