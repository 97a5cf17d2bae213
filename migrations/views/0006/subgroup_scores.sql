CREATE VIEW subgroup_scores AS
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
    random_weights.value AS random_weights
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
COMMENT ON VIEW subgroup_scores IS
'Accuracy and LL of the samples that share one value of an attribute, beside baselines on the same samples';
COMMENT ON COLUMN subgroup_scores.study_id IS 'Number of the study';
COMMENT ON COLUMN subgroup_scores.study IS 'Name of the study';
COMMENT ON COLUMN subgroup_scores.run_id IS 'Number of the run';
COMMENT ON COLUMN subgroup_scores.evaluation_id IS 'Number of the evaluation';
COMMENT ON COLUMN subgroup_scores.backbone IS 'Network';
COMMENT ON COLUMN subgroup_scores.strategy IS 'Unfreezing: gradual or simultaneous';
COMMENT ON COLUMN subgroup_scores.seed IS 'Seed of initial head and batch order';
COMMENT ON COLUMN subgroup_scores.subgroup IS 'Attribute: lesion_type, pathology, mask_fraction, subtlety, breast_density, view';
COMMENT ON COLUMN subgroup_scores.level IS 'Value of the attribute; unknown where the data set gives none';
COMMENT ON COLUMN subgroup_scores.name IS 'accuracy or ll';
COMMENT ON COLUMN subgroup_scores.population IS 'all for accuracy; correct_lesions or lesions for ll';
COMMENT ON COLUMN subgroup_scores.method IS 'Headline map method; NULL for accuracy';
COMMENT ON COLUMN subgroup_scores.value IS 'The score';
COMMENT ON COLUMN subgroup_scores.low IS 'Lower end of the interval';
COMMENT ON COLUMN subgroup_scores.high IS 'Upper end of the interval';
COMMENT ON COLUMN subgroup_scores.n IS 'Samples counted';
COMMENT ON COLUMN subgroup_scores.reason IS 'Why value is NULL';
COMMENT ON COLUMN subgroup_scores.whole_patch IS 'LL of the whole patch, on the same samples; NULL for accuracy';
COMMENT ON COLUMN subgroup_scores.centred_disc IS 'LL of a centred disc of the training lesions'' mean size, on the same samples; NULL for accuracy';
COMMENT ON COLUMN subgroup_scores.mean_mask IS 'LL of the training split''s mean mask, on the same samples; NULL for accuracy';
COMMENT ON COLUMN subgroup_scores.random_weights IS 'LL of the same network with random weights, on the same samples; NULL for accuracy';
