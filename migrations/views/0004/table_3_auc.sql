CREATE VIEW table_3_auc AS
SELECT
    e.study_id, e.study, e.run_id, e.evaluation_id, e.backbone, e.strategy, e.seed,
    label.ordinal, label.code, score.auc, score.auc_hard
FROM study_evaluations AS e
JOIN class_score AS score ON score.evaluation_id = e.evaluation_id
JOIN label ON label.id = score.label_id
UNION ALL
SELECT
    e.study_id, e.study, e.run_id, e.evaluation_id, e.backbone, e.strategy, e.seed,
    -1::smallint, 'mean', auc.value, auc_hard.value
FROM study_evaluations AS e
JOIN run_score AS auc
    ON auc.evaluation_id = e.evaluation_id
    AND auc.name = 'auc' AND auc.population = 'all' AND auc.group_name = 'all'
JOIN run_score AS auc_hard
    ON auc_hard.evaluation_id = e.evaluation_id
    AND auc_hard.name = 'auc_hard' AND auc_hard.population = 'all' AND auc_hard.group_name = 'all';
COMMENT ON VIEW table_3_auc IS 'Table III: area under the ROC curve per class, one against rest, and their mean';
COMMENT ON COLUMN table_3_auc.study_id IS 'Number of the study';
COMMENT ON COLUMN table_3_auc.study IS 'Name of the study';
COMMENT ON COLUMN table_3_auc.run_id IS 'Number of the run';
COMMENT ON COLUMN table_3_auc.evaluation_id IS 'Number of the evaluation';
COMMENT ON COLUMN table_3_auc.backbone IS 'Network';
COMMENT ON COLUMN table_3_auc.strategy IS 'Unfreezing: gradual or simultaneous';
COMMENT ON COLUMN table_3_auc.seed IS 'Seed of initial head and batch order';
COMMENT ON COLUMN table_3_auc.ordinal IS 'Position of the class; -1 for the mean';
COMMENT ON COLUMN table_3_auc.code IS 'Code of the class, or mean';
COMMENT ON COLUMN table_3_auc.auc IS 'From probabilities: the one to use';
COMMENT ON COLUMN table_3_auc.auc_hard IS 'From hard predictions, only to compare with the published table';
