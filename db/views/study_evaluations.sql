CREATE VIEW study_evaluations AS
SELECT
    study.id AS study_id, study.name AS study, run.id AS run_id, evaluation.id AS evaluation_id, study_run.title,
    run.backbone, run.strategy, run.batch_size, run.head_rate, run.unit1_rate, run.guidance, run.seed,
    run.normalise, run.weights
FROM study
JOIN study_run ON study_run.study_id = study.id
JOIN run ON run.id = study_run.run_id
JOIN evaluation ON evaluation.run_id = run.id AND evaluation.digest = study.evaluation_digest;
COMMENT ON VIEW study_evaluations IS
'The evaluation of each finished run that was made with its study''s own options; one row per study and run';
