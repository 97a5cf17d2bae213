CREATE VIEW input_statistics AS
SELECT
    study.id AS study_id,
    study.name AS study,
    label.code,
    normalisation.mean,
    normalisation.std
FROM study
JOIN normalisation ON normalisation.sample_set_id = study.sample_set_id
LEFT JOIN label ON label.id = normalisation.label_id;
COMMENT ON VIEW input_statistics IS 'One row per study and class measured: grey values of the training split, with which patches are normalised';
COMMENT ON COLUMN input_statistics.study_id IS 'Number of the study';
COMMENT ON COLUMN input_statistics.study IS 'Name of the study';
COMMENT ON COLUMN input_statistics.code IS 'Class measured alone; NULL for all classes together';
COMMENT ON COLUMN input_statistics.mean IS 'Mean grey value, 0 to 1';
COMMENT ON COLUMN input_statistics.std IS 'Standard deviation of grey values, 0 to 1';
