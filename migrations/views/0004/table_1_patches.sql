CREATE VIEW table_1_patches AS
SELECT
    study.id AS study_id,
    study.name AS study,
    label.ordinal,
    label.code,
    label.name AS label,
    count(patch.id) FILTER (WHERE patch.part = 'train') AS train,
    count(patch.id) FILTER (WHERE patch.part = 'validation') AS validation,
    count(patch.id) FILTER (WHERE patch.part IN ('train', 'validation')) AS train_and_validation,
    count(patch.id) FILTER (WHERE patch.part = 'test') AS test
FROM study
JOIN patch_set ON patch_set.id = study.patch_set_id
JOIN label ON label.dataset_id = patch_set.dataset_id
LEFT JOIN patch ON patch.patch_set_id = patch_set.id AND patch.label_id = label.id
GROUP BY study.id, label.id;
COMMENT ON VIEW table_1_patches IS 'Table I: patches by class and part';
COMMENT ON COLUMN table_1_patches.study_id IS 'Number of the study';
COMMENT ON COLUMN table_1_patches.study IS 'Name of the study';
COMMENT ON COLUMN table_1_patches.ordinal IS 'Position of the class';
COMMENT ON COLUMN table_1_patches.code IS 'Code of the class';
COMMENT ON COLUMN table_1_patches.label IS 'Name of the class';
COMMENT ON COLUMN table_1_patches.train IS 'Patches in the training part';
COMMENT ON COLUMN table_1_patches.validation IS 'Patches in the validation part';
COMMENT ON COLUMN table_1_patches.train_and_validation IS 'Both together, as published';
COMMENT ON COLUMN table_1_patches.test IS 'Patches in the test part';
