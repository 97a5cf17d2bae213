CREATE VIEW checkpoints AS
SELECT
    study.id AS study_id,
    study.name AS study,
    run.id AS run_id,
    run.backbone,
    run.strategy,
    run.seed,
    checkpoint.role,
    checkpoint.phase,
    checkpoint.epoch,
    checkpoint.path,
    checkpoint.sha256,
    checkpoint.bytes
FROM study
JOIN study_run ON study_run.study_id = study.id
JOIN run ON run.id = study_run.run_id
JOIN checkpoint ON checkpoint.run_id = run.id;
COMMENT ON VIEW checkpoints IS 'One row per study, run and kept checkpoint';
COMMENT ON COLUMN checkpoints.study_id IS 'Number of the study';
COMMENT ON COLUMN checkpoints.study IS 'Name of the study';
COMMENT ON COLUMN checkpoints.run_id IS 'Number of the run';
COMMENT ON COLUMN checkpoints.backbone IS 'Network';
COMMENT ON COLUMN checkpoints.strategy IS 'Unfreezing: gradual or simultaneous';
COMMENT ON COLUMN checkpoints.seed IS 'Seed of initial head and batch order';
COMMENT ON COLUMN checkpoints.role IS 'best: lowest validation loss; last: where training resumes';
COMMENT ON COLUMN checkpoints.phase IS 'Phase after which it was written';
COMMENT ON COLUMN checkpoints.epoch IS 'Epoch after which it was written';
COMMENT ON COLUMN checkpoints.path IS 'File, relative to the checkpoint folder';
COMMENT ON COLUMN checkpoints.sha256 IS 'Digest of the file';
COMMENT ON COLUMN checkpoints.bytes IS 'Size of the file';
