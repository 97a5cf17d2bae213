CREATE VIEW table_4_localization AS
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
    ll.value AS ll,
    ll.low,
    ll.high,
    ll.n,
    accuracy.value AS accuracy,
    accuracy.value * ll.value AS accuracy_x_ll,
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
JOIN run_score AS ll
    ON ll.evaluation_id = e.evaluation_id AND ll.name = 'll'
    AND ll.method NOT IN ('whole_patch', 'centred_disc', 'mean_mask', 'random_weights')
    AND ll.population = 'correct_lesions' AND ll.group_name = 'all'
LEFT JOIN run_score AS accuracy
    ON accuracy.evaluation_id = e.evaluation_id AND accuracy.name = 'accuracy'
    AND accuracy.population = 'all' AND accuracy.group_name = 'all'
LEFT JOIN run_score AS whole_patch
    ON whole_patch.evaluation_id = e.evaluation_id AND whole_patch.name = 'll' AND whole_patch.method = 'whole_patch'
    AND whole_patch.policy = 'mask' AND whole_patch.population = ll.population AND whole_patch.group_name = ll.group_name
LEFT JOIN run_score AS centred_disc
    ON centred_disc.evaluation_id = e.evaluation_id AND centred_disc.name = 'll' AND centred_disc.method = 'centred_disc'
    AND centred_disc.policy = 'mask' AND centred_disc.population = ll.population AND centred_disc.group_name = ll.group_name
LEFT JOIN run_score AS mean_mask
    ON mean_mask.evaluation_id = e.evaluation_id AND mean_mask.name = 'll' AND mean_mask.method = 'mean_mask'
    AND mean_mask.policy = 'mask' AND mean_mask.population = ll.population AND mean_mask.group_name = ll.group_name
LEFT JOIN run_score AS random_weights
    ON random_weights.evaluation_id = e.evaluation_id AND random_weights.name = 'll' AND random_weights.method = 'random_weights'
    AND random_weights.policy = ll.policy AND random_weights.population = ll.population AND random_weights.group_name = ll.group_name
    AND random_weights.target = 'predicted';
COMMENT ON VIEW table_4_localization IS
'Table IV: localisation score (LL) of each run, method, target and policy, beside baselines on the same samples';
COMMENT ON COLUMN table_4_localization.study_id IS 'Number of the study';
COMMENT ON COLUMN table_4_localization.study IS 'Name of the study';
COMMENT ON COLUMN table_4_localization.run_id IS 'Number of the run';
COMMENT ON COLUMN table_4_localization.evaluation_id IS 'Number of the evaluation';
COMMENT ON COLUMN table_4_localization.backbone IS 'Network';
COMMENT ON COLUMN table_4_localization.strategy IS 'Unfreezing: gradual or simultaneous';
COMMENT ON COLUMN table_4_localization.seed IS 'Seed of initial head and batch order';
COMMENT ON COLUMN table_4_localization.method IS 'How maps were made';
COMMENT ON COLUMN table_4_localization.target IS 'Class explained: predicted or true';
COMMENT ON COLUMN table_4_localization.policy IS 'How maps were thresholded';
COMMENT ON COLUMN table_4_localization.headline IS 'Whether this is the study''s headline: its configured policy, its first method, the predicted class';
COMMENT ON COLUMN table_4_localization.ll IS 'Mean IoU of map and mask over correctly classified lesion samples';
COMMENT ON COLUMN table_4_localization.low IS 'Lower end of the interval';
COMMENT ON COLUMN table_4_localization.high IS 'Upper end of the interval';
COMMENT ON COLUMN table_4_localization.n IS 'Correctly classified lesion samples';
COMMENT ON COLUMN table_4_localization.accuracy IS 'Share of the test split classified correctly';
COMMENT ON COLUMN table_4_localization.accuracy_x_ll IS 'accuracy times ll, as published';
COMMENT ON COLUMN table_4_localization.whole_patch IS 'll of the whole patch taken as the lesion, on the same samples';
COMMENT ON COLUMN table_4_localization.whole_patch_low IS 'Lower end of its interval';
COMMENT ON COLUMN table_4_localization.whole_patch_high IS 'Upper end of its interval';
COMMENT ON COLUMN table_4_localization.centred_disc IS 'll of a centred disc of the training lesions'' mean size, on the same samples';
COMMENT ON COLUMN table_4_localization.centred_disc_low IS 'Lower end of its interval';
COMMENT ON COLUMN table_4_localization.centred_disc_high IS 'Upper end of its interval';
COMMENT ON COLUMN table_4_localization.mean_mask IS 'll of the training split''s mean mask, on the same samples';
COMMENT ON COLUMN table_4_localization.mean_mask_low IS 'Lower end of its interval';
COMMENT ON COLUMN table_4_localization.mean_mask_high IS 'Upper end of its interval';
COMMENT ON COLUMN table_4_localization.random_weights IS 'll of the same network with random weights, on the same samples';
COMMENT ON COLUMN table_4_localization.random_weights_low IS 'Lower end of its interval';
COMMENT ON COLUMN table_4_localization.random_weights_high IS 'Upper end of its interval';
