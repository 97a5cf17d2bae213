CREATE VIEW exclusion_reasons AS
SELECT
    study.id AS study_id, study.name AS study, dataset.name AS dataset, sample_set.id AS sample_set_id,
    exclusion.reason, count(exclusion.lesion_id) AS lesions, count(*) - count(exclusion.lesion_id) AS images
FROM exclusion
JOIN sample_set ON sample_set.id = exclusion.sample_set_id
JOIN dataset ON dataset.id = sample_set.dataset_id
LEFT JOIN study ON study.sample_set_id = sample_set.id
GROUP BY study.id, dataset.id, sample_set.id, exclusion.reason;
COMMENT ON VIEW exclusion_reasons IS
'Lesions without a sample, and notes about images, by reason; also where a study stopped before training';
