CREATE VIEW table_3_auc AS
SELECT
    e.study_id, e.study, e.run_id, e.evaluation_id, e.backbone, e.strategy, e.seed, e.guidance,
    label.ordinal, label.code, score.auc, score.auc_hard,
    score.auc_low, score.auc_high, score.auc_hard_low, score.auc_hard_high
FROM study_evaluations AS e
JOIN class_score AS score ON score.evaluation_id = e.evaluation_id
JOIN label ON label.id = score.label_id
UNION ALL
SELECT
    e.study_id, e.study, e.run_id, e.evaluation_id, e.backbone, e.strategy, e.seed, e.guidance,
    -1::smallint, 'mean', auc.value, auc_hard.value, auc.low, auc.high, auc_hard.low, auc_hard.high
FROM study_evaluations AS e
JOIN run_score AS auc
    ON auc.evaluation_id = e.evaluation_id
    AND auc.name = 'auc' AND auc.population = 'all' AND auc.group_name = 'all'
JOIN run_score AS auc_hard
    ON auc_hard.evaluation_id = e.evaluation_id
    AND auc_hard.name = 'auc_hard' AND auc_hard.population = 'all' AND auc_hard.group_name = 'all';
COMMENT ON VIEW table_3_auc IS 'Table III: area under the ROC curve per class, one against rest, and their mean';
