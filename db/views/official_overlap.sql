CREATE VIEW official_overlap AS
WITH placed AS (
    SELECT image.dataset_id, member.entity, member.name, count(DISTINCT image.official_split) AS splits
    FROM image
    CROSS JOIN LATERAL (
        VALUES
            ('patient', image.patient),
            ('image', coalesce(image.patient || ' ' || image.laterality || ' ' || image.view, image.key))
    ) AS member (entity, name)
    WHERE image.official_split IS NOT NULL
    GROUP BY image.dataset_id, member.entity, member.name
)
SELECT
    study.id AS study_id, study.name AS study,
    placed.entity, count(*) FILTER (WHERE placed.splits > 1) AS shared,
    (array_agg(placed.name ORDER BY placed.name) FILTER (WHERE placed.splits > 1))[1:10] AS examples
FROM study
JOIN sample_set ON sample_set.id = study.sample_set_id
JOIN placed ON placed.dataset_id = sample_set.dataset_id
GROUP BY study.id, study.name, placed.entity;
COMMENT ON VIEW official_overlap IS
'One row per study and entity: how many the official splits share, whether or not they yield a sample';
