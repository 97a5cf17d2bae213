CREATE VIEW localization_scores AS
WITH score AS (
    SELECT
        e.study_id, e.evaluation_id, s.name, s.method, s.target, s.policy, s.population, s.group_name,
        s.value, s.low, s.high, s.n, s.reason
    FROM study_evaluations AS e
    JOIN run_score AS s ON s.evaluation_id = e.evaluation_id
    WHERE s.name IN ('ll', 'acc_x_ll')
    UNION ALL
    SELECT
        study_id, evaluation_id, name, method, target, policy, population, group_name,
        value, low, high, n, reason
    FROM study_score
)
SELECT
    e.study_id,
    e.study,
    e.run_id,
    e.evaluation_id,
    e.backbone,
    e.strategy,
    e.seed,
    ll.method,
    ll.target,
    ll.policy,
    ll.policy = evaluation.config ->> 'policy' AND ll.method = evaluation.config #>> '{methods,0}'
    AND ll.target = 'predicted' AS headline,
    ll.population,
    ll.group_name,
    ll.value AS ll,
    ll.low,
    ll.high,
    ll.n,
    ll.reason,
    product.value AS accuracy_x_ll,
    product.low AS accuracy_x_ll_low,
    product.high AS accuracy_x_ll_high,
    whole_patch.value AS whole_patch,
    whole_patch.low AS whole_patch_low,
    whole_patch.high AS whole_patch_high,
    centred_disc.value AS centred_disc,
    centred_disc.low AS centred_disc_low,
    centred_disc.high AS centred_disc_high,
    mean_mask.value AS mean_mask,
    mean_mask.low AS mean_mask_low,
    mean_mask.high AS mean_mask_high,
    random_weights.value AS random_weights,
    random_weights.low AS random_weights_low,
    random_weights.high AS random_weights_high
FROM study_evaluations AS e
JOIN evaluation ON evaluation.id = e.evaluation_id
JOIN score AS ll
    ON ll.study_id = e.study_id AND ll.evaluation_id = e.evaluation_id AND ll.name = 'll'
    AND ll.method NOT IN ('whole_patch', 'centred_disc', 'mean_mask', 'random_weights')
LEFT JOIN score AS product
    ON product.study_id = e.study_id AND product.evaluation_id = e.evaluation_id AND product.name = 'acc_x_ll'
    AND product.method = ll.method AND product.target = ll.target AND product.policy = ll.policy
    AND product.population = ll.population AND product.group_name = ll.group_name
LEFT JOIN score AS whole_patch
    ON whole_patch.study_id = e.study_id AND whole_patch.evaluation_id = e.evaluation_id AND whole_patch.name = 'll'
    AND whole_patch.method = 'whole_patch' AND whole_patch.policy = 'mask'
    AND whole_patch.population = ll.population AND whole_patch.group_name = ll.group_name
LEFT JOIN score AS centred_disc
    ON centred_disc.study_id = e.study_id AND centred_disc.evaluation_id = e.evaluation_id AND centred_disc.name = 'll'
    AND centred_disc.method = 'centred_disc' AND centred_disc.policy = 'mask'
    AND centred_disc.population = ll.population AND centred_disc.group_name = ll.group_name
LEFT JOIN score AS mean_mask
    ON mean_mask.study_id = e.study_id AND mean_mask.evaluation_id = e.evaluation_id AND mean_mask.name = 'll'
    AND mean_mask.method = 'mean_mask' AND mean_mask.policy = 'mask'
    AND mean_mask.population = ll.population AND mean_mask.group_name = ll.group_name
LEFT JOIN score AS random_weights
    ON random_weights.study_id = e.study_id AND random_weights.evaluation_id = e.evaluation_id AND random_weights.name = 'll'
    AND random_weights.method = 'random_weights' AND random_weights.policy = ll.policy
    AND random_weights.population = ll.population AND random_weights.group_name = ll.group_name;
COMMENT ON VIEW localization_scores IS
'LL of each run, map method, target and policy over three populations, pooled and by label group, beside baselines';
COMMENT ON COLUMN localization_scores.study_id IS 'Number of the study';
COMMENT ON COLUMN localization_scores.study IS 'Name of the study';
COMMENT ON COLUMN localization_scores.run_id IS 'Number of the run';
COMMENT ON COLUMN localization_scores.evaluation_id IS 'Number of the evaluation';
COMMENT ON COLUMN localization_scores.backbone IS 'Network';
COMMENT ON COLUMN localization_scores.strategy IS 'Unfreezing: gradual or simultaneous';
COMMENT ON COLUMN localization_scores.seed IS 'Seed of initial head and batch order';
COMMENT ON COLUMN localization_scores.method IS 'How maps were made';
COMMENT ON COLUMN localization_scores.target IS 'Class explained: predicted or true';
COMMENT ON COLUMN localization_scores.policy IS 'How maps were thresholded';
COMMENT ON COLUMN localization_scores.headline IS 'Whether this is the study''s headline: its configured policy, its first method, the predicted class';
COMMENT ON COLUMN localization_scores.population IS 'correct_lesions, lesions, or common_lesions: those that all models of the study classify correctly';
COMMENT ON COLUMN localization_scores.group_name IS 'all, or one label group';
COMMENT ON COLUMN localization_scores.ll IS 'Mean IoU of map and mask over the population';
COMMENT ON COLUMN localization_scores.low IS 'Lower end of the interval';
COMMENT ON COLUMN localization_scores.high IS 'Upper end of the interval';
COMMENT ON COLUMN localization_scores.n IS 'Lesions in the mean';
COMMENT ON COLUMN localization_scores.reason IS 'Why ll is NULL';
COMMENT ON COLUMN localization_scores.accuracy_x_ll IS 'Accuracy over all samples times ll; only where group_name is all';
COMMENT ON COLUMN localization_scores.accuracy_x_ll_low IS 'Lower end of its interval';
COMMENT ON COLUMN localization_scores.accuracy_x_ll_high IS 'Upper end of its interval';
COMMENT ON COLUMN localization_scores.whole_patch IS 'LL of the whole patch, on the same samples';
COMMENT ON COLUMN localization_scores.whole_patch_low IS 'Lower end of its interval';
COMMENT ON COLUMN localization_scores.whole_patch_high IS 'Upper end of its interval';
COMMENT ON COLUMN localization_scores.centred_disc IS 'LL of a centred disc of the training lesions'' mean size, on the same samples';
COMMENT ON COLUMN localization_scores.centred_disc_low IS 'Lower end of its interval';
COMMENT ON COLUMN localization_scores.centred_disc_high IS 'Upper end of its interval';
COMMENT ON COLUMN localization_scores.mean_mask IS 'LL of the training split''s mean mask, on the same samples';
COMMENT ON COLUMN localization_scores.mean_mask_low IS 'Lower end of its interval';
COMMENT ON COLUMN localization_scores.mean_mask_high IS 'Upper end of its interval';
COMMENT ON COLUMN localization_scores.random_weights IS 'LL of the same network with random weights, on the same samples';
COMMENT ON COLUMN localization_scores.random_weights_low IS 'Lower end of its interval';
COMMENT ON COLUMN localization_scores.random_weights_high IS 'Upper end of its interval';
