CREATE VIEW runs AS
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
    run.weights,
    run.digest,
    run.status,
    run.reason,
    run.device,
    run.started_at,
    run.finished_at,
    (SELECT count(*) FROM epoch WHERE epoch.run_id = run.id) AS epochs,
    (SELECT sum(epoch.seconds) FROM epoch WHERE epoch.run_id = run.id) AS training_seconds,
    evaluation.seconds AS evaluation_seconds,
    run.config -> 'training' AS training_config,
    evaluation.config AS evaluation_config
FROM study
JOIN study_run ON study_run.study_id = study.id
JOIN run ON run.id = study_run.run_id
LEFT JOIN evaluation ON evaluation.run_id = run.id AND evaluation.digest = study.evaluation_digest;
COMMENT ON VIEW runs IS 'One row per study and run of its grid, finished or not';
COMMENT ON COLUMN runs.study_id IS 'Number of the study';
COMMENT ON COLUMN runs.study IS 'Name of the study';
COMMENT ON COLUMN runs.run_id IS 'Number of the run';
COMMENT ON COLUMN runs.evaluation_id IS 'Number of its evaluation with the study''s options; NULL where there is none';
COMMENT ON COLUMN runs.backbone IS 'Network';
COMMENT ON COLUMN runs.strategy IS 'Unfreezing: gradual or simultaneous';
COMMENT ON COLUMN runs.batch_size IS 'Patches per step';
COMMENT ON COLUMN runs.head_rate IS 'Learning rate of the linear layer';
COMMENT ON COLUMN runs.unit1_rate IS 'Learning rate of the last convolutional unit';
COMMENT ON COLUMN runs.seed IS 'Seed of initial head and batch order';
COMMENT ON COLUMN runs.normalise IS 'Input statistics; per_class leaks the label';
COMMENT ON COLUMN runs.weights IS 'Where the stem''s weights come from: imagenet or none';
COMMENT ON COLUMN runs.digest IS 'Identity by content: run, training options and sample set';
COMMENT ON COLUMN runs.status IS 'pending, running, finished or failed';
COMMENT ON COLUMN runs.reason IS 'Why it failed; NULL otherwise';
COMMENT ON COLUMN runs.device IS 'Where it was last trained';
COMMENT ON COLUMN runs.started_at IS 'When training last began or was resumed';
COMMENT ON COLUMN runs.finished_at IS 'When it finished or failed';
COMMENT ON COLUMN runs.epochs IS 'Epochs trained';
COMMENT ON COLUMN runs.training_seconds IS 'Wall time of these epochs together';
COMMENT ON COLUMN runs.evaluation_seconds IS 'Wall time of the evaluation';
COMMENT ON COLUMN runs.training_config IS 'Training options';
COMMENT ON COLUMN runs.evaluation_config IS 'Evaluation options; NULL where it was not evaluated';
