CREATE VIEW exclusions AS
SELECT
    study.id AS study_id,
    study.name AS study,
    exclusion.reason,
    exclusion.detail,
    image.key AS image_key,
    image.patient,
    lesion.key AS lesion_key,
    lesion.lesion_type,
    lesion.pathology,
    coalesce(lesion.official_split, image.official_split) AS official_split
FROM study
JOIN exclusion ON exclusion.sample_set_id = study.sample_set_id
JOIN image ON image.id = exclusion.image_id
LEFT JOIN lesion ON lesion.id = exclusion.lesion_id;
COMMENT ON VIEW exclusions IS 'One row per study and lesion or image that yields no patch, and why';
COMMENT ON COLUMN exclusions.study_id IS 'Number of the study';
COMMENT ON COLUMN exclusions.study IS 'Name of the study';
COMMENT ON COLUMN exclusions.reason IS 'Fixed short code';
COMMENT ON COLUMN exclusions.detail IS 'What was found, in words; may be empty';
COMMENT ON COLUMN exclusions.image_key IS 'Image concerned';
COMMENT ON COLUMN exclusions.patient IS 'Patient';
COMMENT ON COLUMN exclusions.lesion_key IS 'Lesion concerned; NULL where the whole image is';
COMMENT ON COLUMN exclusions.lesion_type IS 'Mass or calcification';
COMMENT ON COLUMN exclusions.pathology IS 'Verified pathology as the case file gives it';
COMMENT ON COLUMN exclusions.official_split IS 'Split that the data set''s makers put it in';
