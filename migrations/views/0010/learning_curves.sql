CREATE VIEW learning_curves AS
SELECT
    study.id AS study_id,
    study.name AS study,
    run.id AS run_id,
    run.backbone,
    run.strategy,
    run.seed,
    epoch.epoch,
    epoch.phase,
    epoch.train_loss,
    epoch.validation_loss,
    epoch.validation_accuracy,
    epoch.improved,
    epoch.seconds,
    epoch.rates
FROM study
JOIN study_run ON study_run.study_id = study.id
JOIN run ON run.id = study_run.run_id
JOIN epoch ON epoch.run_id = run.id;
COMMENT ON VIEW learning_curves IS 'One row per study, run and epoch';
COMMENT ON COLUMN learning_curves.study_id IS 'Number of the study';
COMMENT ON COLUMN learning_curves.study IS 'Name of the study';
COMMENT ON COLUMN learning_curves.run_id IS 'Number of the run';
COMMENT ON COLUMN learning_curves.backbone IS 'Network';
COMMENT ON COLUMN learning_curves.strategy IS 'Unfreezing: gradual or simultaneous';
COMMENT ON COLUMN learning_curves.seed IS 'Seed of initial head and batch order';
COMMENT ON COLUMN learning_curves.epoch IS 'Counted from 1 through all phases';
COMMENT ON COLUMN learning_curves.phase IS 'Phase of the strategy, from 1';
COMMENT ON COLUMN learning_curves.train_loss IS 'Mean cross-entropy over the training split';
COMMENT ON COLUMN learning_curves.validation_loss IS 'Mean cross-entropy over the validation split';
COMMENT ON COLUMN learning_curves.validation_accuracy IS 'Share of the validation split classified correctly';
COMMENT ON COLUMN learning_curves.improved IS 'Whether validation loss fell enough to count';
COMMENT ON COLUMN learning_curves.seconds IS 'Wall time of the epoch';
COMMENT ON COLUMN learning_curves.rates IS 'Learning rate by unit name';
