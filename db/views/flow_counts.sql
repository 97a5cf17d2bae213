-- One study's counts at a time: they are asked for by study.
CREATE VIEW flow_counts AS
SELECT
    study.id AS study_id, study.name AS study, flow.stage, flow.split, flow.reason, flow.patients, flow.images,
    flow.lesions, flow.samples
FROM study
JOIN sample_set ON sample_set.id = study.sample_set_id
CROSS JOIN LATERAL (
    SELECT
        'listed' AS stage, NULL AS split, NULL AS reason, count(DISTINCT image.patient) AS patients,
        count(DISTINCT image.id) AS images, count(DISTINCT lesion.id) AS lesions, 0::bigint AS samples
    FROM image
    LEFT JOIN lesion ON lesion.image_id = image.id
    WHERE image.dataset_id = sample_set.dataset_id
    UNION ALL
    SELECT 'excluded', NULL, lost.reason, count(DISTINCT image.patient), count(DISTINCT image.id), count(*), 0
    FROM (
        SELECT DISTINCT ON (exclusion.lesion_id) exclusion.lesion_id, exclusion.image_id, exclusion.reason
        FROM exclusion
        WHERE
            exclusion.sample_set_id = sample_set.id AND exclusion.lesion_id IS NOT NULL
            AND NOT EXISTS (
                SELECT FROM sample
                WHERE sample.sample_set_id = sample_set.id AND sample.lesion_id = exclusion.lesion_id
            )
        ORDER BY exclusion.lesion_id, exclusion.id
    ) AS lost
    JOIN image ON image.id = lost.image_id
    GROUP BY lost.reason
    UNION ALL
    SELECT
        'included', sample.split, NULL, count(DISTINCT image.patient), count(DISTINCT image.id),
        count(DISTINCT sample.lesion_id), count(*)
    FROM sample
    JOIN image ON image.id = sample.image_id
    WHERE sample.sample_set_id = sample_set.id
    GROUP BY GROUPING SETS ((sample.split), ())
    HAVING count(*) > 0
) AS flow;
COMMENT ON VIEW flow_counts IS
'From the data set to the splits: what is listed, which lesions are excluded and why, what is in each split';
