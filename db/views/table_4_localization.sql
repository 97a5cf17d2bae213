CREATE VIEW table_4_localization AS
SELECT
    ll.study_id, ll.study, ll.run_id, ll.evaluation_id, ll.backbone, ll.strategy, ll.seed,
    ll.method, ll.target, ll.policy, ll.headline, ll.ll, ll.low, ll.high, ll.n,
    accuracy.value AS accuracy, ll.accuracy_x_ll,
    ll.whole_patch, ll.whole_patch_low, ll.whole_patch_high,
    ll.centred_disc, ll.centred_disc_low, ll.centred_disc_high,
    ll.mean_mask, ll.mean_mask_low, ll.mean_mask_high,
    ll.random_weights, ll.random_weights_low, ll.random_weights_high,
    accuracy.low AS accuracy_low, accuracy.high AS accuracy_high,
    ll.accuracy_x_ll_low, ll.accuracy_x_ll_high, ll.reason
FROM localization_scores AS ll
LEFT JOIN run_score AS accuracy
    ON accuracy.evaluation_id = ll.evaluation_id AND accuracy.name = 'accuracy'
    AND accuracy.population = 'all' AND accuracy.group_name = 'all'
WHERE ll.population = 'correct_lesions' AND ll.group_name = 'all';
COMMENT ON VIEW table_4_localization IS
'Table IV: localization score (LL) of each run, method, target and policy, beside baselines on the same samples';
