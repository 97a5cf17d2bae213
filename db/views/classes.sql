CREATE VIEW classes AS
SELECT
    study.id AS study_id, study.name AS study, label.code, label.name, label.group_name, label.ordinal,
    label.is_lesion
FROM study
JOIN sample_set ON sample_set.id = study.sample_set_id
JOIN label ON label.dataset_id = sample_set.dataset_id;
COMMENT ON VIEW classes IS 'One row per study and class';
