CREATE VIEW table_1_patches AS
SELECT
    study.id AS study_id, study.name AS study,
    label.ordinal, label.code, label.name AS label, count(sample.id) FILTER (WHERE sample.split = 'train') AS train,
    count(sample.id) FILTER (WHERE sample.split = 'validation') AS validation,
    count(sample.id) FILTER (WHERE sample.split IN ('train', 'validation')) AS train_and_validation,
    count(sample.id) FILTER (WHERE sample.split = 'test') AS test
FROM study
JOIN sample_set ON sample_set.id = study.sample_set_id
JOIN label ON label.dataset_id = sample_set.dataset_id
LEFT JOIN sample ON sample.sample_set_id = sample_set.id AND sample.label_id = label.id
GROUP BY study.id, label.id;
COMMENT ON VIEW table_1_patches IS 'Table I: samples by class and split';
