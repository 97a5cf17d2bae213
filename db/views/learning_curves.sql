CREATE VIEW learning_curves AS
SELECT
    study.id AS study_id, study.name AS study, run.id AS run_id, run.backbone, run.strategy, run.seed, run.guidance,
    epoch.epoch, epoch.phase, epoch.train_loss, epoch.validation_loss, epoch.validation_accuracy, epoch.validation_froc,
    epoch.improved,
    epoch.seconds, epoch.rates
FROM study
JOIN study_run ON study_run.study_id = study.id
JOIN run ON run.id = study_run.run_id
JOIN epoch ON epoch.run_id = run.id;
COMMENT ON VIEW learning_curves IS 'One row per study, run and epoch';
