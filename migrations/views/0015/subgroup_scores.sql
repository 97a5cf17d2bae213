CREATE OR REPLACE VIEW subgroup_scores AS
SELECT
    e.study_id,
    e.study,
    e.run_id,
    e.evaluation_id,
    e.backbone,
    e.strategy,
    e.seed,
    score.subgroup,
    score.level,
    score.name,
    score.population,
    score.method,
    score.value,
    score.low,
    score.high,
    score.n,
    score.reason,
    whole_patch.value AS whole_patch,
    centred_disc.value AS centred_disc,
    mean_mask.value AS mean_mask,
    random_weights.value AS random_weights,
    whole_patch.low AS whole_patch_low,
    whole_patch.high AS whole_patch_high,
    centred_disc.low AS centred_disc_low,
    centred_disc.high AS centred_disc_high,
    mean_mask.low AS mean_mask_low,
    mean_mask.high AS mean_mask_high,
    random_weights.low AS random_weights_low,
    random_weights.high AS random_weights_high
FROM study_evaluations AS e
JOIN subgroup_score AS score
    ON score.evaluation_id = e.evaluation_id
    AND coalesce(score.method, '') NOT IN ('whole_patch', 'centred_disc', 'mean_mask', 'random_weights')
LEFT JOIN subgroup_score AS whole_patch
    ON whole_patch.evaluation_id = e.evaluation_id AND whole_patch.subgroup = score.subgroup AND whole_patch.level = score.level
    AND whole_patch.name = score.name AND whole_patch.population = score.population AND whole_patch.method = 'whole_patch'
LEFT JOIN subgroup_score AS centred_disc
    ON centred_disc.evaluation_id = e.evaluation_id AND centred_disc.subgroup = score.subgroup AND centred_disc.level = score.level
    AND centred_disc.name = score.name AND centred_disc.population = score.population AND centred_disc.method = 'centred_disc'
LEFT JOIN subgroup_score AS mean_mask
    ON mean_mask.evaluation_id = e.evaluation_id AND mean_mask.subgroup = score.subgroup AND mean_mask.level = score.level
    AND mean_mask.name = score.name AND mean_mask.population = score.population AND mean_mask.method = 'mean_mask'
LEFT JOIN subgroup_score AS random_weights
    ON random_weights.evaluation_id = e.evaluation_id AND random_weights.subgroup = score.subgroup AND random_weights.level = score.level
    AND random_weights.name = score.name AND random_weights.population = score.population AND random_weights.method = 'random_weights';
COMMENT ON COLUMN subgroup_scores.whole_patch_low IS 'Lower end of the interval of whole_patch';
COMMENT ON COLUMN subgroup_scores.whole_patch_high IS 'Upper end of the interval of whole_patch';
COMMENT ON COLUMN subgroup_scores.centred_disc_low IS 'Lower end of the interval of centred_disc';
COMMENT ON COLUMN subgroup_scores.centred_disc_high IS 'Upper end of the interval of centred_disc';
COMMENT ON COLUMN subgroup_scores.mean_mask_low IS 'Lower end of the interval of mean_mask';
COMMENT ON COLUMN subgroup_scores.mean_mask_high IS 'Upper end of the interval of mean_mask';
COMMENT ON COLUMN subgroup_scores.random_weights_low IS 'Lower end of the interval of random_weights';
COMMENT ON COLUMN subgroup_scores.random_weights_high IS 'Upper end of the interval of random_weights';
