CREATE VIEW studies AS
SELECT
    study.id AS study_id, study.name AS study,
    study.kind, study.digest, study.created_at, dataset.name AS dataset, dataset.kind AS dataset_kind,
    dataset.digest AS dataset_digest, sample_set.id AS sample_set_id, sample_set.digest AS sample_set_digest,
    sample_set.height AS sample_height, sample_set.width AS sample_width, study.config, study.versions
FROM study
JOIN sample_set ON sample_set.id = study.sample_set_id
JOIN dataset ON dataset.id = sample_set.dataset_id;
COMMENT ON VIEW studies IS 'One row per study: what was asked, of which data';
