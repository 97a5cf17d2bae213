CREATE VIEW reliability_curve AS
SELECT
    e.study_id, e.study, e.run_id, e.evaluation_id, e.backbone, e.strategy, e.seed, e.guidance,
    reliability.bin, reliability.lower, reliability.upper, reliability.confidence, reliability.accuracy,
    reliability.low, reliability.high, reliability.n
FROM study_evaluations AS e
JOIN reliability ON reliability.evaluation_id = e.evaluation_id;
COMMENT ON VIEW reliability_curve IS
'Reliability curve: accuracy against the predicted class''s probability, empty bins included';
