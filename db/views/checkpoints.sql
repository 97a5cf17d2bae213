CREATE VIEW checkpoints AS
SELECT
    study.id AS study_id, study.name AS study, run.id AS run_id, run.backbone, run.strategy, run.seed, run.guidance,
    checkpoint.role, checkpoint.phase, checkpoint.epoch, checkpoint.path, checkpoint.sha256, checkpoint.bytes
FROM study
JOIN study_run ON study_run.study_id = study.id
JOIN run ON run.id = study_run.run_id
JOIN checkpoint ON checkpoint.run_id = run.id;
COMMENT ON VIEW checkpoints IS 'One row per study, run and kept checkpoint';
