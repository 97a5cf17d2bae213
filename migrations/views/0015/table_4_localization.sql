CREATE OR REPLACE VIEW table_4_localization AS
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
    random_weights.high AS random_weights_high,
    accuracy.low AS accuracy_low,
    accuracy.high AS accuracy_high,
    product.low AS accuracy_x_ll_low,
    product.high AS accuracy_x_ll_high,
    ll.reason
FROM study_evaluations AS e
JOIN evaluation ON evaluation.id = e.evaluation_id
JOIN run_score AS ll
    ON ll.evaluation_id = e.evaluation_id AND ll.name = 'll'
    AND ll.method NOT IN ('whole_patch', 'centred_disc', 'mean_mask', 'random_weights')
    AND ll.population = 'correct_lesions' AND ll.group_name = 'all'
LEFT JOIN run_score AS accuracy
    ON accuracy.evaluation_id = e.evaluation_id AND accuracy.name = 'accuracy'
    AND accuracy.population = 'all' AND accuracy.group_name = 'all'
LEFT JOIN run_score AS product
    ON product.evaluation_id = e.evaluation_id AND product.name = 'acc_x_ll'
    AND product.method = ll.method AND product.target = ll.target AND product.policy = ll.policy
    AND product.population = ll.population AND product.group_name = ll.group_name
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
COMMENT ON COLUMN table_4_localization.accuracy_low IS 'Lower end of the interval of accuracy';
COMMENT ON COLUMN table_4_localization.accuracy_high IS 'Upper end of the interval of accuracy';
COMMENT ON COLUMN table_4_localization.accuracy_x_ll_low IS 'Lower end of the interval of accuracy_x_ll';
COMMENT ON COLUMN table_4_localization.accuracy_x_ll_high IS 'Upper end of the interval of accuracy_x_ll';
COMMENT ON COLUMN table_4_localization.reason IS 'Why ll is NULL, or its interval';
