CREATE VIEW official_overlap AS
WITH placed AS (
    SELECT image.dataset_id, member.unit, member.name, count(DISTINCT image.official_split) AS splits
    FROM image
    CROSS JOIN LATERAL (
        VALUES
            ('patient', image.patient),
            ('image', coalesce(image.patient || ' ' || image.laterality || ' ' || image.view, image.key))
    ) AS member (unit, name)
    WHERE image.official_split IS NOT NULL
    GROUP BY image.dataset_id, member.unit, member.name
)
SELECT
    study.id AS study_id,
    study.name AS study,
    placed.unit,
    count(*) FILTER (WHERE placed.splits > 1) AS shared,
    (array_agg(placed.name ORDER BY placed.name) FILTER (WHERE placed.splits > 1))[1:10] AS examples
FROM study
JOIN sample_set ON sample_set.id = study.sample_set_id
JOIN placed ON placed.dataset_id = sample_set.dataset_id
GROUP BY study.id, study.name, placed.unit;
COMMENT ON VIEW official_overlap IS
    'One row per study and unit: what the splits of the data set''s makers share, whether or not it yields a patch';
COMMENT ON COLUMN official_overlap.study_id IS 'Number of the study';
COMMENT ON COLUMN official_overlap.study IS 'Name of the study';
COMMENT ON COLUMN official_overlap.unit IS 'patient, or image: a patient''s mammogram of one side and view';
COMMENT ON COLUMN official_overlap.shared IS 'How many units have images in more than one of these splits';
COMMENT ON COLUMN official_overlap.examples IS 'At most ten of the shared units';
