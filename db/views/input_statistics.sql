CREATE VIEW input_statistics AS
SELECT
    study.id AS study_id, study.name AS study, label.code, normalisation.mean, normalisation.std
FROM study
JOIN normalisation ON normalisation.sample_set_id = study.sample_set_id
LEFT JOIN label ON label.id = normalisation.label_id;
COMMENT ON VIEW input_statistics IS
'One row per study and class measured: grey values of the training split, which normalise all samples';
