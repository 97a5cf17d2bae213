CREATE VIEW subgroup_scores AS
SELECT
    e.study_id, e.study, e.run_id, e.evaluation_id, e.backbone, e.strategy, e.seed, e.guidance,
    score.subgroup, score.level, score.name, score.population, score.method,
    score.value, score.low, score.high, score.n, score.reason,
    baseline.whole_patch, baseline.centred_disc, baseline.mean_mask, baseline.random_weights,
    baseline.dealt_maps, baseline.dealt_maps_low, baseline.dealt_maps_high,
    baseline.whole_patch_low, baseline.whole_patch_high, baseline.centred_disc_low, baseline.centred_disc_high,
    baseline.mean_mask_low, baseline.mean_mask_high, baseline.random_weights_low, baseline.random_weights_high
FROM study_evaluations AS e
JOIN subgroup_score AS score
    ON score.evaluation_id = e.evaluation_id
    AND coalesce(score.method, '') NOT IN ('whole_patch', 'centred_disc', 'mean_mask', 'random_weights', 'dealt_maps')
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
        max(high) FILTER (WHERE method = 'dealt_maps') AS dealt_maps_high
    FROM subgroup_score AS same
    WHERE
        same.evaluation_id = score.evaluation_id AND same.subgroup = score.subgroup AND same.level = score.level
        AND same.name = score.name AND same.population = score.population
) AS baseline;
COMMENT ON VIEW subgroup_scores IS 'Accuracy and LL by attribute of lesion, image or patient, beside baselines';
