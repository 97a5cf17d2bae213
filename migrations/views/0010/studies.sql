CREATE VIEW studies AS
SELECT
    study.id AS study_id,
    study.name AS study,
    study.digest,
    study.created_at,
    dataset.name AS dataset,
    dataset.kind AS dataset_kind,
    dataset.digest AS dataset_digest,
    sample_set.id AS sample_set_id,
    sample_set.digest AS sample_set_digest,
    sample_set.size AS patch_size,
    study.config,
    study.versions
FROM study
JOIN sample_set ON sample_set.id = study.sample_set_id
JOIN dataset ON dataset.id = sample_set.dataset_id;
COMMENT ON VIEW studies IS 'One row per study: what was asked, of which data';
COMMENT ON COLUMN studies.study_id IS 'Number of the study';
COMMENT ON COLUMN studies.study IS 'Name of the study';
COMMENT ON COLUMN studies.digest IS 'Identity by content: configuration and sample set';
COMMENT ON COLUMN studies.created_at IS 'When it was first planned';
COMMENT ON COLUMN studies.dataset IS 'Data set, as shown in reports';
COMMENT ON COLUMN studies.dataset_kind IS 'Layout of its files, for example cbis_kaggle';
COMMENT ON COLUMN studies.dataset_digest IS 'Identity of the data set by content';
COMMENT ON COLUMN studies.sample_set_id IS 'Number of the sample set';
COMMENT ON COLUMN studies.sample_set_digest IS 'Identity of the sample set: data set, options and seed';
COMMENT ON COLUMN studies.patch_size IS 'Side of a stored patch in pixels';
COMMENT ON COLUMN studies.config IS 'The whole configuration';
COMMENT ON COLUMN studies.versions IS 'Library versions, Python and machine that planned it';
