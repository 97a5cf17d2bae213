CREATE VIEW test_splits AS
SELECT
    sample_set.id AS sample_set_id,
    encode(sha256(convert_to(
        dataset.digest || E'\n' || coalesce(
            string_agg(DISTINCT lesion.key, E'\n' ORDER BY lesion.key),
            string_agg(DISTINCT image.key, E'\n' ORDER BY image.key)
        ), 'UTF8'
    )), 'hex') AS test_digest
FROM sample_set
JOIN dataset ON dataset.id = sample_set.dataset_id
JOIN sample ON sample.sample_set_id = sample_set.id AND sample.split = 'test'
JOIN image ON image.id = sample.image_id
LEFT JOIN lesion ON lesion.id = sample.lesion_id
GROUP BY sample_set.id, dataset.digest;
COMMENT ON VIEW test_splits IS
'Which test split a sample set has: the same for the same test lesions of a data set, however they were cut';
