CREATE VIEW shortcut_audit AS
SELECT
    study.id AS study_id,
    study.name AS study,
    score.features,
    score.accuracy,
    score.low,
    score.high,
    score.n,
    models.lowest AS lowest_model_accuracy,
    models.highest AS highest_model_accuracy
FROM study
JOIN shortcut_score AS score
    ON score.sample_set_id = study.sample_set_id AND score.digest = study.evaluation_digest
LEFT JOIN LATERAL (
    SELECT min(accuracy) AS lowest, max(accuracy) AS highest FROM table_2_accuracy WHERE study_id = study.id
) AS models ON true;
COMMENT ON VIEW shortcut_audit IS
'Shortcut audit: test accuracy from a few numbers of every patch, beside the study''s networks';
COMMENT ON COLUMN shortcut_audit.study_id IS 'Number of the study';
COMMENT ON COLUMN shortcut_audit.study IS 'Name of the study';
COMMENT ON COLUMN shortcut_audit.features IS 'What a logistic regression sees: majority (nothing), size, intensity, sharpness, all';
COMMENT ON COLUMN shortcut_audit.accuracy IS 'Its accuracy on the test split';
COMMENT ON COLUMN shortcut_audit.low IS 'Lower end of the interval';
COMMENT ON COLUMN shortcut_audit.high IS 'Upper end of the interval';
COMMENT ON COLUMN shortcut_audit.n IS 'Samples in the test split';
COMMENT ON COLUMN shortcut_audit.lowest_model_accuracy IS 'Lowest accuracy of the study''s runs';
COMMENT ON COLUMN shortcut_audit.highest_model_accuracy IS 'Highest accuracy of the study''s runs';
