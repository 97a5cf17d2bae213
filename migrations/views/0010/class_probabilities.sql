CREATE VIEW class_probabilities AS
SELECT
    e.study_id,
    e.study,
    e.run_id,
    e.evaluation_id,
    e.backbone,
    e.strategy,
    e.seed,
    sample.id AS sample_id,
    sample.key AS patch_key,
    truth.code AS true_code,
    label.ordinal,
    label.code,
    prediction.probabilities[label.ordinal + 1] AS probability,
    label.id = sample.label_id AS is_true,
    label.id = prediction.predicted_label_id AS is_predicted
FROM study_evaluations AS e
JOIN prediction ON prediction.evaluation_id = e.evaluation_id
JOIN sample ON sample.id = prediction.sample_id
JOIN label AS truth ON truth.id = sample.label_id
JOIN label ON label.dataset_id = truth.dataset_id;
COMMENT ON VIEW class_probabilities IS 'One row per study, run, test patch and class: the model''s probability';
COMMENT ON COLUMN class_probabilities.study_id IS 'Number of the study';
COMMENT ON COLUMN class_probabilities.study IS 'Name of the study';
COMMENT ON COLUMN class_probabilities.run_id IS 'Number of the run';
COMMENT ON COLUMN class_probabilities.evaluation_id IS 'Number of the evaluation';
COMMENT ON COLUMN class_probabilities.backbone IS 'Network';
COMMENT ON COLUMN class_probabilities.strategy IS 'Unfreezing: gradual or simultaneous';
COMMENT ON COLUMN class_probabilities.seed IS 'Seed of initial head and batch order';
COMMENT ON COLUMN class_probabilities.sample_id IS 'Number of the patch';
COMMENT ON COLUMN class_probabilities.patch_key IS 'Name of the patch';
COMMENT ON COLUMN class_probabilities.true_code IS 'True class';
COMMENT ON COLUMN class_probabilities.ordinal IS 'Position of the class, from 0';
COMMENT ON COLUMN class_probabilities.code IS 'Class';
COMMENT ON COLUMN class_probabilities.probability IS 'Probability of the class, 0 to 1';
COMMENT ON COLUMN class_probabilities.is_true IS 'Whether it is the true class';
COMMENT ON COLUMN class_probabilities.is_predicted IS 'Whether it is the predicted class';
