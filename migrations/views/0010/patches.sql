CREATE VIEW patches AS
SELECT
    study.id AS study_id,
    study.name AS study,
    sample.id AS sample_id,
    sample.key AS patch_key,
    sample.split,
    label.code,
    label.group_name,
    image.key AS image_key,
    image.path AS image_path,
    image.width AS image_width,
    image.height AS image_height,
    image.patient,
    image.laterality,
    image.view,
    image.breast_density,
    lesion.key AS lesion_key,
    lesion.lesion_type,
    lesion.pathology,
    lesion.subtlety,
    lesion.assessment,
    lesion.mask_path,
    sample.window_x0,
    sample.window_y0,
    sample.window_x1,
    sample.window_y1,
    sample.lesion_x0,
    sample.lesion_y0,
    sample.lesion_x1,
    sample.lesion_y1,
    sample.mask_fraction
FROM study
JOIN sample ON sample.sample_set_id = study.sample_set_id
JOIN label ON label.id = sample.label_id
JOIN image ON image.id = sample.image_id
LEFT JOIN lesion ON lesion.id = sample.lesion_id;
COMMENT ON VIEW patches IS 'One row per study and patch, of all splits: whose it is, where it was cut, what it shows; pixels are in the table patch';
COMMENT ON COLUMN patches.study_id IS 'Number of the study';
COMMENT ON COLUMN patches.study IS 'Name of the study';
COMMENT ON COLUMN patches.sample_id IS 'Number of the patch';
COMMENT ON COLUMN patches.patch_key IS 'Name of the patch, the same for the same content';
COMMENT ON COLUMN patches.split IS 'train, validation or test';
COMMENT ON COLUMN patches.code IS 'Class';
COMMENT ON COLUMN patches.group_name IS 'Group of the class';
COMMENT ON COLUMN patches.image_key IS 'Image it was cut from';
COMMENT ON COLUMN patches.image_path IS 'Its file, relative to the data set''s root';
COMMENT ON COLUMN patches.image_width IS 'Width of the full image in pixels';
COMMENT ON COLUMN patches.image_height IS 'Height of the full image in pixels';
COMMENT ON COLUMN patches.patient IS 'Patient';
COMMENT ON COLUMN patches.laterality IS 'Breast side';
COMMENT ON COLUMN patches.view IS 'Projection: CC or MLO';
COMMENT ON COLUMN patches.breast_density IS 'BI-RADS breast density category';
COMMENT ON COLUMN patches.lesion_key IS 'Lesion it shows; NULL for background';
COMMENT ON COLUMN patches.lesion_type IS 'Mass or calcification';
COMMENT ON COLUMN patches.pathology IS 'Verified pathology as the case file gives it';
COMMENT ON COLUMN patches.subtlety IS 'Radiologist''s rating, 1 subtle to 5 obvious';
COMMENT ON COLUMN patches.assessment IS 'BI-RADS assessment, 0 to 5';
COMMENT ON COLUMN patches.mask_path IS 'Mask file, relative to the data set''s root';
COMMENT ON COLUMN patches.window_x0 IS 'Left edge of the window in the full image, pixels';
COMMENT ON COLUMN patches.window_y0 IS 'Upper edge of the window';
COMMENT ON COLUMN patches.window_x1 IS 'Right edge of the window, exclusive';
COMMENT ON COLUMN patches.window_y1 IS 'Lower edge of the window, exclusive';
COMMENT ON COLUMN patches.lesion_x0 IS 'Left edge of the lesion''s box in the full image; NULL for background';
COMMENT ON COLUMN patches.lesion_y0 IS 'Upper edge of the lesion''s box';
COMMENT ON COLUMN patches.lesion_x1 IS 'Right edge of the lesion''s box, exclusive';
COMMENT ON COLUMN patches.lesion_y1 IS 'Lower edge of the lesion''s box, exclusive';
COMMENT ON COLUMN patches.mask_fraction IS 'Share of the window inside the mask; NULL for background';
