CREATE VIEW exclusions AS
SELECT
    study.id AS study_id, study.name AS study,
    exclusion.reason, exclusion.detail, image.key AS image_key, image.patient, lesion.key AS lesion_key,
    lesion.lesion_type, lesion.pathology, coalesce(lesion.official_split, image.official_split) AS official_split
FROM study
JOIN exclusion ON exclusion.sample_set_id = study.sample_set_id
JOIN image ON image.id = exclusion.image_id
LEFT JOIN lesion ON lesion.id = exclusion.lesion_id;
COMMENT ON VIEW exclusions IS 'One row per study and lesion or image that yields no sample, and why';
