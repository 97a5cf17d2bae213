CREATE VIEW exclusions AS
SELECT
    study.id AS study_id, study.name AS study, dataset.name AS dataset, sample_set.id AS sample_set_id,
    exclusion.reason, exclusion.detail, image.key AS image_key, image.patient, lesion.key AS lesion_key,
    lesion.lesion_type, lesion.pathology, coalesce(lesion.official_split, image.official_split) AS official_split
FROM exclusion
JOIN sample_set ON sample_set.id = exclusion.sample_set_id
JOIN dataset ON dataset.id = sample_set.dataset_id
JOIN image ON image.id = exclusion.image_id
LEFT JOIN lesion ON lesion.id = exclusion.lesion_id
LEFT JOIN study ON study.sample_set_id = sample_set.id;
COMMENT ON VIEW exclusions IS
'One row per study and lesion or image that yields no sample, and why; also where a study stopped before training';
