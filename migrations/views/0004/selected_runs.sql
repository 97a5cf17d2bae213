CREATE VIEW selected_runs AS
SELECT DISTINCT ON (study.id, run.backbone, run.strategy)
    study.id AS study_id,
    study.name AS study,
    run.backbone,
    run.strategy,
    run.id AS run_id,
    best.validation_loss
FROM study
JOIN study_run ON study_run.study_id = study.id
JOIN run ON run.id = study_run.run_id AND run.status = 'finished'
JOIN LATERAL (
    SELECT min(epoch.validation_loss) AS validation_loss FROM epoch WHERE epoch.run_id = run.id
) AS best ON best.validation_loss IS NOT NULL
ORDER BY study.id, run.backbone, run.strategy, best.validation_loss, run.id;
COMMENT ON VIEW selected_runs IS
'The best run per backbone and strategy, chosen by validation loss, never by test accuracy';
COMMENT ON COLUMN selected_runs.study_id IS 'Number of the study';
COMMENT ON COLUMN selected_runs.study IS 'Name of the study';
COMMENT ON COLUMN selected_runs.backbone IS 'Network';
COMMENT ON COLUMN selected_runs.strategy IS 'Unfreezing: gradual or simultaneous';
COMMENT ON COLUMN selected_runs.run_id IS 'The run with the lowest validation loss';
COMMENT ON COLUMN selected_runs.validation_loss IS 'That loss';
