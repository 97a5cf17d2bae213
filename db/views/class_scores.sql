CREATE VIEW class_scores AS
SELECT
    e.study_id, e.study, e.run_id, e.evaluation_id, e.backbone, e.strategy, e.seed, e.guidance,
    label.ordinal, label.code, score.support, score.precision, score.precision_low, score.precision_high,
    score.recall, score.recall_low, score.recall_high, score.f1, score.f1_low, score.f1_high, score.auc,
    score.auc_low, score.auc_high, score.auc_hard, score.auc_hard_low, score.auc_hard_high, score.reason
FROM study_evaluations AS e
JOIN class_score AS score ON score.evaluation_id = e.evaluation_id
JOIN label ON label.id = score.label_id;
COMMENT ON VIEW class_scores IS 'One row per study, run and class: classification scores with intervals';
