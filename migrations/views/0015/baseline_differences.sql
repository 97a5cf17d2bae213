CREATE VIEW baseline_differences AS
SELECT
    e.study_id,
    e.study,
    e.run_id,
    e.evaluation_id,
    e.backbone,
    e.strategy,
    e.seed,
    gap.method,
    gap.target,
    gap.policy,
    gap.policy = evaluation.config ->> 'policy' AND gap.method = evaluation.config #>> '{methods,0}'
    AND gap.target = 'predicted' AS headline,
    gap.baseline,
    gap.population,
    gap.group_name,
    gap.difference,
    gap.low,
    gap.high,
    gap.n,
    gap.reason
FROM study_evaluations AS e
JOIN evaluation ON evaluation.id = e.evaluation_id
JOIN baseline_difference AS gap ON gap.evaluation_id = e.evaluation_id;
COMMENT ON VIEW baseline_differences IS
'LL of each run, map method, target and policy minus that of each baseline, on the same lesions';
COMMENT ON COLUMN baseline_differences.study_id IS 'Number of the study';
COMMENT ON COLUMN baseline_differences.study IS 'Name of the study';
COMMENT ON COLUMN baseline_differences.run_id IS 'Number of the run';
COMMENT ON COLUMN baseline_differences.evaluation_id IS 'Number of the evaluation';
COMMENT ON COLUMN baseline_differences.backbone IS 'Network';
COMMENT ON COLUMN baseline_differences.strategy IS 'Unfreezing: gradual or simultaneous';
COMMENT ON COLUMN baseline_differences.seed IS 'Seed of initial head and batch order';
COMMENT ON COLUMN baseline_differences.method IS 'How maps were made';
COMMENT ON COLUMN baseline_differences.target IS 'Class explained: predicted or true';
COMMENT ON COLUMN baseline_differences.policy IS 'How maps were thresholded';
COMMENT ON COLUMN baseline_differences.headline IS
'Whether this is the study''s headline: its configured policy, its first method, the predicted class';
COMMENT ON COLUMN baseline_differences.baseline IS 'whole_patch, centred_disc, mean_mask or random_weights';
COMMENT ON COLUMN baseline_differences.population IS 'Lesions counted: correct_lesions or lesions';
COMMENT ON COLUMN baseline_differences.group_name IS 'all, or one label group';
COMMENT ON COLUMN baseline_differences.difference IS 'Mean IoU of the map minus that of the baseline, over the same lesions';
COMMENT ON COLUMN baseline_differences.low IS 'Lower end of the paired bootstrap interval, clustered by patient';
COMMENT ON COLUMN baseline_differences.high IS 'Upper end of the interval';
COMMENT ON COLUMN baseline_differences.n IS 'Lesions counted';
COMMENT ON COLUMN baseline_differences.reason IS 'Why difference is NULL, or its interval';
