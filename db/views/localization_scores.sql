-- The scores of one study are looked up by its number; a materialised expression gathered those of all studies.
CREATE VIEW localization_scores AS
WITH score AS NOT MATERIALIZED (
    SELECT
        e.study_id, e.evaluation_id, s.name, s.method, s.target, s.policy, s.population, s.group_name,
        s.value, s.low, s.high, s.n, s.reason
    FROM study_evaluations AS e
    JOIN run_score AS s ON s.evaluation_id = e.evaluation_id
    WHERE s.name IN ('ll', 'acc_x_ll', 'ceiling_share')
    UNION ALL
    SELECT
        study_id, evaluation_id, name, method, target, policy, population, group_name, value, low, high, n, reason
    FROM study_score
),
baseline AS NOT MATERIALIZED (
    SELECT
        study_id, evaluation_id, population, group_name,
        max(value) FILTER (WHERE method = 'whole_patch') AS whole_patch,
        max(low) FILTER (WHERE method = 'whole_patch') AS whole_patch_low,
        max(high) FILTER (WHERE method = 'whole_patch') AS whole_patch_high,
        max(value) FILTER (WHERE method = 'centred_disc') AS centred_disc,
        max(low) FILTER (WHERE method = 'centred_disc') AS centred_disc_low,
        max(high) FILTER (WHERE method = 'centred_disc') AS centred_disc_high,
        max(value) FILTER (WHERE method = 'mean_mask') AS mean_mask,
        max(low) FILTER (WHERE method = 'mean_mask') AS mean_mask_low,
        max(high) FILTER (WHERE method = 'mean_mask') AS mean_mask_high,
        max(value) FILTER (WHERE method = 'ceiling') AS ceiling,
        max(low) FILTER (WHERE method = 'ceiling') AS ceiling_low,
        max(high) FILTER (WHERE method = 'ceiling') AS ceiling_high
    FROM score
    WHERE name = 'll' AND policy = 'mask'
    GROUP BY study_id, evaluation_id, population, group_name
)
SELECT
    e.study_id, e.study, e.run_id, e.evaluation_id, e.backbone, e.strategy, e.seed, e.guidance,
    ll.method, ll.target, ll.policy,
    ll.policy = evaluation.config ->> 'policy' AND ll.method = evaluation.config #>> '{methods,0}'
    AND ll.target = 'predicted' AS headline,
    ll.population, ll.group_name, ll.value AS ll, ll.low, ll.high, ll.n, ll.reason, product.value AS accuracy_x_ll,
    product.low AS accuracy_x_ll_low, product.high AS accuracy_x_ll_high, baseline.whole_patch,
    baseline.whole_patch_low, baseline.whole_patch_high, baseline.centred_disc, baseline.centred_disc_low,
    baseline.centred_disc_high, baseline.mean_mask, baseline.mean_mask_low, baseline.mean_mask_high,
    random_weights.value AS random_weights, random_weights.low AS random_weights_low,
    random_weights.high AS random_weights_high,
    dealt_maps.value AS dealt_maps, dealt_maps.low AS dealt_maps_low, dealt_maps.high AS dealt_maps_high,
    baseline.ceiling, baseline.ceiling_low, baseline.ceiling_high,
    share.value AS ceiling_share, share.low AS ceiling_share_low, share.high AS ceiling_share_high,
    grid.map_rows, grid.map_cols
FROM study_evaluations AS e
JOIN evaluation ON evaluation.id = e.evaluation_id
JOIN score AS ll
    ON ll.study_id = e.study_id AND ll.evaluation_id = e.evaluation_id AND ll.name = 'll'
    AND ll.method NOT IN ('whole_patch', 'centred_disc', 'mean_mask', 'random_weights', 'dealt_maps', 'ceiling', 'breast',
        'bright_blob', 'sweep')
LEFT JOIN score AS product
    ON product.study_id = e.study_id AND product.evaluation_id = e.evaluation_id AND product.name = 'acc_x_ll'
    AND product.method = ll.method AND product.target = ll.target AND product.policy = ll.policy
    AND product.population = ll.population AND product.group_name = ll.group_name
LEFT JOIN baseline
    ON baseline.study_id = e.study_id AND baseline.evaluation_id = e.evaluation_id
    AND baseline.population = ll.population AND baseline.group_name = ll.group_name
LEFT JOIN score AS random_weights
    ON random_weights.study_id = e.study_id AND random_weights.evaluation_id = e.evaluation_id
    AND random_weights.name = 'll' AND random_weights.method = 'random_weights' AND random_weights.policy = ll.policy
    AND random_weights.population = ll.population AND random_weights.group_name = ll.group_name
LEFT JOIN score AS dealt_maps
    ON dealt_maps.study_id = e.study_id AND dealt_maps.evaluation_id = e.evaluation_id
    AND dealt_maps.name = 'll' AND dealt_maps.method = 'dealt_maps' AND dealt_maps.policy = ll.policy
    AND dealt_maps.population = ll.population AND dealt_maps.group_name = ll.group_name
LEFT JOIN score AS share
    ON share.study_id = e.study_id AND share.evaluation_id = e.evaluation_id AND share.name = 'ceiling_share'
    AND share.method = ll.method AND share.target = ll.target AND share.policy = ll.policy
    AND share.population = ll.population AND share.group_name = ll.group_name
LEFT JOIN LATERAL (
    SELECT map.rows AS map_rows, map.cols AS map_cols FROM activation_map AS map
    WHERE map.evaluation_id = e.evaluation_id AND map.method = ll.method AND map.target = ll.target LIMIT 1
) AS grid ON true;
COMMENT ON VIEW localization_scores IS
'LL of each run, method, target and policy over three populations, pooled and by label group, beside baselines';
