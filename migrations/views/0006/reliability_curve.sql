CREATE VIEW reliability_curve AS
SELECT
    e.study_id,
    e.study,
    e.run_id,
    e.evaluation_id,
    e.backbone,
    e.strategy,
    e.seed,
    reliability.bin,
    reliability.lower,
    reliability.upper,
    reliability.confidence,
    reliability.accuracy,
    reliability.low,
    reliability.high,
    reliability.n
FROM study_evaluations AS e
JOIN reliability ON reliability.evaluation_id = e.evaluation_id;
COMMENT ON VIEW reliability_curve IS
'Reliability curve: accuracy against the predicted class''s probability, empty bins included';
COMMENT ON COLUMN reliability_curve.study_id IS 'Number of the study';
COMMENT ON COLUMN reliability_curve.study IS 'Name of the study';
COMMENT ON COLUMN reliability_curve.run_id IS 'Number of the run';
COMMENT ON COLUMN reliability_curve.evaluation_id IS 'Number of the evaluation';
COMMENT ON COLUMN reliability_curve.backbone IS 'Network';
COMMENT ON COLUMN reliability_curve.strategy IS 'Unfreezing: gradual or simultaneous';
COMMENT ON COLUMN reliability_curve.seed IS 'Seed of initial head and batch order';
COMMENT ON COLUMN reliability_curve.bin IS 'Bin, from 0';
COMMENT ON COLUMN reliability_curve.lower IS 'Lower edge of the bin';
COMMENT ON COLUMN reliability_curve.upper IS 'Upper edge of the bin';
COMMENT ON COLUMN reliability_curve.confidence IS 'Mean probability in the bin; NULL where it is empty';
COMMENT ON COLUMN reliability_curve.accuracy IS 'Share of correct predictions in the bin; NULL where it is empty';
COMMENT ON COLUMN reliability_curve.low IS 'Lower end of the accuracy''s interval';
COMMENT ON COLUMN reliability_curve.high IS 'Upper end of the interval';
COMMENT ON COLUMN reliability_curve.n IS 'Samples in the bin';
