-- The tables themselves: over localization_scores the planner went through the scores of all evaluations.
CREATE VIEW table_4_localization AS
SELECT
    e.study_id, e.study, e.run_id, e.evaluation_id, e.backbone, e.strategy, e.seed, e.guidance,
    ll.method, ll.target, ll.policy,
    ll.policy = evaluation.config ->> 'policy' AND ll.method = evaluation.config #>> '{methods,0}'
    AND ll.target = 'predicted' AS headline,
    ll.value AS ll, ll.low, ll.high, ll.n, accuracy.value AS accuracy, product.value AS accuracy_x_ll,
    baseline.whole_patch, baseline.whole_patch_low, baseline.whole_patch_high,
    baseline.centred_disc, baseline.centred_disc_low, baseline.centred_disc_high,
    baseline.mean_mask, baseline.mean_mask_low, baseline.mean_mask_high,
    baseline.random_weights, baseline.random_weights_low, baseline.random_weights_high,
    baseline.dealt_maps, baseline.dealt_maps_low, baseline.dealt_maps_high,
    baseline.ceiling, baseline.ceiling_low, baseline.ceiling_high,
    share.value AS ceiling_share, share.low AS ceiling_share_low, share.high AS ceiling_share_high,
    grid.map_rows, grid.map_cols,
    accuracy.low AS accuracy_low, accuracy.high AS accuracy_high,
    product.low AS accuracy_x_ll_low, product.high AS accuracy_x_ll_high, ll.reason
FROM study_evaluations AS e
JOIN evaluation ON evaluation.id = e.evaluation_id
JOIN run_score AS ll
    ON ll.evaluation_id = e.evaluation_id AND ll.name = 'll'
    AND ll.method NOT IN ('whole_patch', 'centred_disc', 'mean_mask', 'random_weights', 'dealt_maps', 'ceiling', 'breast',
        'bright_blob', 'sweep')
    AND ll.population = 'correct_lesions' AND ll.group_name = 'all'
LEFT JOIN run_score AS accuracy
    ON accuracy.evaluation_id = e.evaluation_id AND accuracy.name = 'accuracy'
    AND accuracy.population = 'all' AND accuracy.group_name = 'all'
LEFT JOIN run_score AS product
    ON product.evaluation_id = e.evaluation_id AND product.name = 'acc_x_ll'
    AND product.method = ll.method AND product.target = ll.target AND product.policy = ll.policy
    AND product.population = ll.population AND product.group_name = ll.group_name
LEFT JOIN run_score AS share
    ON share.evaluation_id = e.evaluation_id AND share.name = 'ceiling_share'
    AND share.method = ll.method AND share.target = ll.target AND share.policy = ll.policy
    AND share.population = ll.population AND share.group_name = ll.group_name
LEFT JOIN LATERAL (
    SELECT map.rows AS map_rows, map.cols AS map_cols FROM activation_map AS map
    WHERE map.evaluation_id = e.evaluation_id AND map.method = ll.method AND map.target = ll.target LIMIT 1
) AS grid ON true
CROSS JOIN LATERAL (
    SELECT
        max(value) FILTER (WHERE method = 'whole_patch') AS whole_patch,
        max(low) FILTER (WHERE method = 'whole_patch') AS whole_patch_low,
        max(high) FILTER (WHERE method = 'whole_patch') AS whole_patch_high,
        max(value) FILTER (WHERE method = 'centred_disc') AS centred_disc,
        max(low) FILTER (WHERE method = 'centred_disc') AS centred_disc_low,
        max(high) FILTER (WHERE method = 'centred_disc') AS centred_disc_high,
        max(value) FILTER (WHERE method = 'mean_mask') AS mean_mask,
        max(low) FILTER (WHERE method = 'mean_mask') AS mean_mask_low,
        max(high) FILTER (WHERE method = 'mean_mask') AS mean_mask_high,
        max(value) FILTER (WHERE method = 'random_weights') AS random_weights,
        max(low) FILTER (WHERE method = 'random_weights') AS random_weights_low,
        max(high) FILTER (WHERE method = 'random_weights') AS random_weights_high,
        max(value) FILTER (WHERE method = 'dealt_maps') AS dealt_maps,
        max(low) FILTER (WHERE method = 'dealt_maps') AS dealt_maps_low,
        max(high) FILTER (WHERE method = 'dealt_maps') AS dealt_maps_high,
        max(value) FILTER (WHERE method = 'ceiling') AS ceiling,
        max(low) FILTER (WHERE method = 'ceiling') AS ceiling_low,
        max(high) FILTER (WHERE method = 'ceiling') AS ceiling_high
    FROM run_score AS same
    WHERE
        same.evaluation_id = e.evaluation_id AND same.name = 'll'
        AND same.population = ll.population AND same.group_name = ll.group_name
        AND (same.policy = 'mask' OR same.policy = ll.policy AND same.target = 'predicted')
) AS baseline;
COMMENT ON VIEW table_4_localization IS
'Table IV: localization score (LL) of each run, method, target and policy, beside baselines on the same samples';
