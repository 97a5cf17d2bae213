CREATE VIEW selected_runs AS
SELECT DISTINCT ON (study.id, run.backbone, run.strategy)
    study.id AS study_id, study.name AS study, run.backbone, run.strategy, run.id AS run_id, best.validation_loss
FROM study
JOIN study_run ON study_run.study_id = study.id
JOIN run ON run.id = study_run.run_id AND run.status = 'finished'
JOIN checkpoint ON checkpoint.run_id = run.id AND checkpoint.role = 'best'
JOIN epoch AS best ON best.run_id = run.id AND best.epoch = checkpoint.epoch
ORDER BY study.id, run.backbone, run.strategy, best.validation_loss, run.id;
COMMENT ON VIEW selected_runs IS
'The best run per backbone and strategy, chosen by validation loss, never by test accuracy';
