CREATE VIEW selection_losses AS
SELECT
    study.id AS study_id, study.name AS study, run.id AS run_id, run.backbone, run.strategy, run.batch_size,
    run.head_rate, run.unit1_rate, run.guidance, run.seed, best.validation_loss, validation.scaled_loss,
    CASE WHEN run.system = 'detector' THEN 1 - best.validation_froc
        WHEN study.config #>> '{evaluation,selection}' = 'loss' THEN
        CASE WHEN run.guidance = 'none' THEN best.validation_loss ELSE coalesce(validation.loss, best.validation_loss) END
        ELSE coalesce(validation.scaled_loss, best.validation_loss) END AS selection_loss
FROM study
JOIN study_run ON study_run.study_id = study.id
JOIN run ON run.id = study_run.run_id AND run.status = 'finished'
LEFT JOIN checkpoint ON checkpoint.run_id = run.id AND checkpoint.role = 'best'
LEFT JOIN epoch AS best ON best.run_id = run.id AND best.epoch = checkpoint.epoch
LEFT JOIN validation_scores AS validation ON validation.study_id = study.id AND validation.run_id = run.id;
COMMENT ON VIEW selection_losses IS
'Validation loss of every finished run, and that by which its study chooses: as it is, after temperature scaling, or what a detector''s validation FROC lacks to 1';
