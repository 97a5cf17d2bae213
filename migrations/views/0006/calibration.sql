CREATE VIEW calibration AS
SELECT
    e.study_id,
    e.study,
    e.run_id,
    e.evaluation_id,
    e.backbone,
    e.strategy,
    e.seed,
    score.value AS calibration_error,
    score.low,
    score.high,
    score.n
FROM study_evaluations AS e
JOIN run_score AS score ON score.evaluation_id = e.evaluation_id AND score.name = 'calibration_error';
COMMENT ON VIEW calibration IS
'Expected calibration error of the predicted class''s probability, 15 bins';
COMMENT ON COLUMN calibration.study_id IS 'Number of the study';
COMMENT ON COLUMN calibration.study IS 'Name of the study';
COMMENT ON COLUMN calibration.run_id IS 'Number of the run';
COMMENT ON COLUMN calibration.evaluation_id IS 'Number of the evaluation';
COMMENT ON COLUMN calibration.backbone IS 'Network';
COMMENT ON COLUMN calibration.strategy IS 'Unfreezing: gradual or simultaneous';
COMMENT ON COLUMN calibration.seed IS 'Seed of initial head and batch order';
COMMENT ON COLUMN calibration.calibration_error IS 'Mean distance of accuracy and probability over bins, weighted by samples; biased upwards in small samples';
COMMENT ON COLUMN calibration.low IS 'Lower end of the interval';
COMMENT ON COLUMN calibration.high IS 'Upper end of the interval';
COMMENT ON COLUMN calibration.n IS 'Samples in the test split';
