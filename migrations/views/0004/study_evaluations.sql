CREATE VIEW study_evaluations AS
SELECT
    study.id AS study_id,
    study.name AS study,
    run.id AS run_id,
    evaluation.id AS evaluation_id,
    run.backbone,
    run.strategy,
    run.batch_size,
    run.head_rate,
    run.unit1_rate,
    run.seed,
    run.normalise,
    run.weights
FROM study
JOIN study_run ON study_run.study_id = study.id
JOIN run ON run.id = study_run.run_id
JOIN evaluation ON evaluation.run_id = run.id AND evaluation.digest = study.evaluation_digest;
COMMENT ON VIEW study_evaluations IS
'The evaluation of each finished run that was made with its study''s own options; one row per study and run';
COMMENT ON COLUMN study_evaluations.study_id IS 'Number of the study';
COMMENT ON COLUMN study_evaluations.study IS 'Name of the study';
COMMENT ON COLUMN study_evaluations.run_id IS 'Number of the run';
COMMENT ON COLUMN study_evaluations.evaluation_id IS 'Number of the evaluation';
COMMENT ON COLUMN study_evaluations.backbone IS 'Network';
COMMENT ON COLUMN study_evaluations.strategy IS 'Unfreezing: gradual or simultaneous';
COMMENT ON COLUMN study_evaluations.batch_size IS 'Patches per step';
COMMENT ON COLUMN study_evaluations.head_rate IS 'Learning rate of the linear layer';
COMMENT ON COLUMN study_evaluations.unit1_rate IS 'Learning rate of the last convolutional unit';
COMMENT ON COLUMN study_evaluations.seed IS 'Seed of initial head and batch order';
COMMENT ON COLUMN study_evaluations.normalise IS 'Input statistics; per_class leaks the label';
COMMENT ON COLUMN study_evaluations.weights IS 'Where the stem''s weights come from';
