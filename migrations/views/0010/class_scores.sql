CREATE VIEW class_scores AS
SELECT
    e.study_id,
    e.study,
    e.run_id,
    e.evaluation_id,
    e.backbone,
    e.strategy,
    e.seed,
    label.ordinal,
    label.code,
    score.support,
    score.precision,
    score.precision_low,
    score.precision_high,
    score.recall,
    score.recall_low,
    score.recall_high,
    score.f1,
    score.f1_low,
    score.f1_high,
    score.auc,
    score.auc_low,
    score.auc_high,
    score.auc_hard,
    score.auc_hard_low,
    score.auc_hard_high,
    score.reason
FROM study_evaluations AS e
JOIN class_score AS score ON score.evaluation_id = e.evaluation_id
JOIN label ON label.id = score.label_id;
COMMENT ON VIEW class_scores IS 'One row per study, run and class: classification scores with intervals';
COMMENT ON COLUMN class_scores.study_id IS 'Number of the study';
COMMENT ON COLUMN class_scores.study IS 'Name of the study';
COMMENT ON COLUMN class_scores.run_id IS 'Number of the run';
COMMENT ON COLUMN class_scores.evaluation_id IS 'Number of the evaluation';
COMMENT ON COLUMN class_scores.backbone IS 'Network';
COMMENT ON COLUMN class_scores.strategy IS 'Unfreezing: gradual or simultaneous';
COMMENT ON COLUMN class_scores.seed IS 'Seed of initial head and batch order';
COMMENT ON COLUMN class_scores.ordinal IS 'Position among the classes, from 0';
COMMENT ON COLUMN class_scores.code IS 'Class, against all others';
COMMENT ON COLUMN class_scores.support IS 'Samples of the class in the test split';
COMMENT ON COLUMN class_scores.precision IS 'Correct among predicted; 0 where nothing was predicted';
COMMENT ON COLUMN class_scores.precision_low IS 'Lower end of the interval of precision';
COMMENT ON COLUMN class_scores.precision_high IS 'Upper end of the interval of precision';
COMMENT ON COLUMN class_scores.recall IS 'Correct among true';
COMMENT ON COLUMN class_scores.recall_low IS 'Lower end of the interval of recall';
COMMENT ON COLUMN class_scores.recall_high IS 'Upper end of the interval of recall';
COMMENT ON COLUMN class_scores.f1 IS 'Harmonic mean of precision and recall';
COMMENT ON COLUMN class_scores.f1_low IS 'Lower end of the interval of f1';
COMMENT ON COLUMN class_scores.f1_high IS 'Upper end of the interval of f1';
COMMENT ON COLUMN class_scores.auc IS 'Area under the ROC curve from probabilities, one against rest';
COMMENT ON COLUMN class_scores.auc_low IS 'Lower end of the interval of auc';
COMMENT ON COLUMN class_scores.auc_high IS 'Upper end of the interval of auc';
COMMENT ON COLUMN class_scores.auc_hard IS '(recall + specificity) / 2, only to compare with the published table';
COMMENT ON COLUMN class_scores.auc_hard_low IS 'Lower end of the interval of auc_hard';
COMMENT ON COLUMN class_scores.auc_hard_high IS 'Upper end of the interval of auc_hard';
COMMENT ON COLUMN class_scores.reason IS 'Why a score is NULL';
