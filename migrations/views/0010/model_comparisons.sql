CREATE VIEW model_comparisons AS
SELECT
    study.id AS study_id,
    study.name AS study,
    a.run_id AS run_a,
    run_a.backbone AS backbone_a,
    run_a.strategy AS strategy_a,
    b.run_id AS run_b,
    run_b.backbone AS backbone_b,
    run_b.strategy AS strategy_b,
    comparison.score,
    comparison.value_a,
    comparison.value_b,
    comparison.difference,
    comparison.low,
    comparison.high,
    comparison.p,
    comparison.p_holm,
    comparison.n
FROM comparison
JOIN study ON study.id = comparison.study_id
JOIN evaluation AS a ON a.id = comparison.evaluation_a
JOIN evaluation AS b ON b.id = comparison.evaluation_b
JOIN run AS run_a ON run_a.id = a.run_id
JOIN run AS run_b ON run_b.id = b.run_id;
COMMENT ON VIEW model_comparisons IS 'One row per study, two of its runs and score: the paired difference';
COMMENT ON COLUMN model_comparisons.study_id IS 'Number of the study';
COMMENT ON COLUMN model_comparisons.study IS 'Name of the study';
COMMENT ON COLUMN model_comparisons.run_a IS 'First run';
COMMENT ON COLUMN model_comparisons.backbone_a IS 'Its network';
COMMENT ON COLUMN model_comparisons.strategy_a IS 'Its strategy';
COMMENT ON COLUMN model_comparisons.run_b IS 'Second run';
COMMENT ON COLUMN model_comparisons.backbone_b IS 'Its network';
COMMENT ON COLUMN model_comparisons.strategy_b IS 'Its strategy';
COMMENT ON COLUMN model_comparisons.score IS 'What is compared: accuracy or ll';
COMMENT ON COLUMN model_comparisons.value_a IS 'Score of the first on the common samples';
COMMENT ON COLUMN model_comparisons.value_b IS 'Score of the second';
COMMENT ON COLUMN model_comparisons.difference IS 'value_a - value_b';
COMMENT ON COLUMN model_comparisons.low IS 'Lower end of the paired bootstrap interval';
COMMENT ON COLUMN model_comparisons.high IS 'Upper end of the interval';
COMMENT ON COLUMN model_comparisons.p IS 'Two-sided p value';
COMMENT ON COLUMN model_comparisons.p_holm IS 'p value after Holm''s correction over the study''s comparisons';
COMMENT ON COLUMN model_comparisons.n IS 'Samples both were scored on';
