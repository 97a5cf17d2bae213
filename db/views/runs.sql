CREATE VIEW runs AS
SELECT
    study.id AS study_id, study.name AS study, run.id AS run_id, evaluation.id AS evaluation_id, study_run.title,
    run.system, run.backbone, run.strategy, run.batch_size, run.head_rate, run.unit1_rate, run.guidance, run.seed,
    run.normalise, run.weights,
    run.digest, run.status, run.reason, run.device, run.started_at, run.finished_at,
    best.epoch AS best_epoch,
    (SELECT count(*) FROM epoch WHERE epoch.run_id = run.id) AS epochs,
    (SELECT sum(epoch.seconds) FROM epoch WHERE epoch.run_id = run.id) AS training_seconds,
    evaluation_failure.reason AS evaluation_reason, evaluation.seconds AS evaluation_seconds, run.config -> 'training' AS training_config,
    evaluation.config AS evaluation_config
FROM study
JOIN study_run ON study_run.study_id = study.id
JOIN run ON run.id = study_run.run_id
LEFT JOIN checkpoint AS best ON best.run_id = run.id AND best.role = 'best'
LEFT JOIN evaluation ON evaluation.run_id = run.id AND evaluation.digest = study.evaluation_digest
LEFT JOIN evaluation_failure
    ON evaluation_failure.run_id = run.id AND evaluation_failure.digest = study.evaluation_digest;
COMMENT ON VIEW runs IS 'One row per study and run of its grid, finished or not';
