CREATE VIEW samples AS
SELECT
    study.id AS study_id, study.name AS study,
    sample.id AS sample_id, sample.key AS sample_key, sample.split, label.code, label.group_name,
    image.key AS image_key, image.path AS image_path, image.width AS image_width, image.height AS image_height,
    image.patient, image.laterality, image.view, image.breast_density, lesion.key AS lesion_key, lesion.lesion_type,
    lesion.pathology, lesion.subtlety, lesion.assessment, lesion.mask_path, sample.window_x0, sample.window_y0,
    sample.window_x1, sample.window_y1, sample.lesion_x0, sample.lesion_y0, sample.lesion_x1, sample.lesion_y1,
    sample.mask_fraction
FROM study
JOIN sample ON sample.sample_set_id = study.sample_set_id
JOIN label ON label.id = sample.label_id
JOIN image ON image.id = sample.image_id
LEFT JOIN lesion ON lesion.id = sample.lesion_id;
COMMENT ON VIEW samples IS
'One row per study and sample of any split: patient, image, lesion, window; pixels are in the table sample';
