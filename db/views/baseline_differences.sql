CREATE VIEW baseline_differences AS
SELECT
    e.study_id, e.study, e.run_id, e.evaluation_id, e.backbone, e.strategy, e.seed, e.guidance,
    gap.method, gap.target, gap.policy,
    gap.policy = evaluation.config ->> 'policy' AND gap.method = evaluation.config #>> '{methods,0}'
    AND gap.target = 'predicted' AS headline,
    gap.baseline, gap.population, gap.group_name, gap.difference, gap.low, gap.high, gap.n, gap.reason
FROM study_evaluations AS e
JOIN evaluation ON evaluation.id = e.evaluation_id
JOIN baseline_difference AS gap ON gap.evaluation_id = e.evaluation_id;
COMMENT ON VIEW baseline_differences IS
'LL of each run, method, target and policy minus that of each baseline, on the same lesions';
