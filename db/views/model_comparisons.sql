CREATE VIEW model_comparisons AS
SELECT
    study.id AS study_id, study.name AS study,
    a.run_id AS run_a, run_a.backbone AS backbone_a, run_a.strategy AS strategy_a, run_a.seed AS seed_a, b.run_id AS run_b,
    run_b.backbone AS backbone_b, run_b.strategy AS strategy_b, run_b.seed AS seed_b, comparison.score, comparison.value_a,
    comparison.value_b, comparison.difference, comparison.low, comparison.high, comparison.p, comparison.p_holm,
    comparison.n
FROM comparison
JOIN study ON study.id = comparison.study_id
JOIN evaluation AS a ON a.id = comparison.evaluation_a
JOIN evaluation AS b ON b.id = comparison.evaluation_b
JOIN run AS run_a ON run_a.id = a.run_id
JOIN run AS run_b ON run_b.id = b.run_id;
COMMENT ON VIEW model_comparisons IS 'One row per study, two of its runs and score: the paired difference';
