CREATE VIEW studies AS
SELECT
    study.id AS study_id,
    study.name AS study,
    study.digest,
    study.created_at,
    dataset.name AS dataset,
    dataset.kind AS dataset_kind,
    dataset.digest AS dataset_digest,
    patch_set.id AS patch_set_id,
    patch_set.digest AS patch_set_digest,
    patch_set.size AS patch_size,
    study.config,
    study.versions
FROM study
JOIN patch_set ON patch_set.id = study.patch_set_id
JOIN dataset ON dataset.id = patch_set.dataset_id;
COMMENT ON VIEW studies IS 'One row per study: what was asked, of which data';
COMMENT ON COLUMN studies.study_id IS 'Number of the study';
COMMENT ON COLUMN studies.study IS 'Name of the study';
COMMENT ON COLUMN studies.digest IS 'Identity by content: configuration and patch set';
COMMENT ON COLUMN studies.created_at IS 'When it was first planned';
COMMENT ON COLUMN studies.dataset IS 'Data set, as shown in reports';
COMMENT ON COLUMN studies.dataset_kind IS 'Layout of its files, for example cbis_kaggle';
COMMENT ON COLUMN studies.dataset_digest IS 'Identity of the data set by content';
COMMENT ON COLUMN studies.patch_set_id IS 'Number of the patch set';
COMMENT ON COLUMN studies.patch_set_digest IS 'Identity of the patch set: data set, options and seed';
COMMENT ON COLUMN studies.patch_size IS 'Side of a stored patch in pixels';
COMMENT ON COLUMN studies.config IS 'The whole configuration';
COMMENT ON COLUMN studies.versions IS 'Library versions, Python and machine that planned it';
