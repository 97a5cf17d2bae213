CREATE VIEW shortcut_audit AS
SELECT
    study.id AS study_id, study.name AS study,
    score.features, score.question, score.accuracy, score.auc, score.low, score.high, score.n, models.lowest AS lowest_model_accuracy,
    models.highest AS highest_model_accuracy
FROM study
JOIN shortcut_score AS score
    ON score.sample_set_id = study.sample_set_id AND score.digest = study.evaluation_digest
LEFT JOIN LATERAL (
    SELECT min(accuracy) AS lowest, max(accuracy) AS highest FROM table_2_accuracy WHERE study_id = study.id
) AS models ON true;
COMMENT ON VIEW shortcut_audit IS
'Shortcut audit: what a few numbers from outside the annotation tell, beside the study''s networks';
