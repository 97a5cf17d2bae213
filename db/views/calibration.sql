CREATE VIEW calibration AS
SELECT
    e.study_id, e.study, e.run_id, e.evaluation_id, e.backbone, e.strategy, e.seed, e.guidance,
    score.value AS calibration_error, score.low, score.high, score.n
FROM study_evaluations AS e
JOIN run_score AS score ON score.evaluation_id = e.evaluation_id AND score.name = 'calibration_error';
COMMENT ON VIEW calibration IS 'Expected calibration error of the predicted class''s probability, 15 bins';
