CREATE VIEW official_overlap AS
WITH placed AS (
    SELECT image.dataset_id, member.unit, member.name, count(DISTINCT image.official_part) AS parts
    FROM image
    CROSS JOIN LATERAL (
        VALUES
            ('patient', image.patient),
            ('image', coalesce(image.patient || ' ' || image.laterality || ' ' || image.view, image.key))
    ) AS member (unit, name)
    WHERE image.official_part IS NOT NULL
    GROUP BY image.dataset_id, member.unit, member.name
)
SELECT
    study.id AS study_id,
    study.name AS study,
    placed.unit,
    count(*) FILTER (WHERE placed.parts > 1) AS shared,
    (array_agg(placed.name ORDER BY placed.name) FILTER (WHERE placed.parts > 1))[1:10] AS examples
FROM study
JOIN patch_set ON patch_set.id = study.patch_set_id
JOIN placed ON placed.dataset_id = patch_set.dataset_id
GROUP BY study.id, study.name, placed.unit;
COMMENT ON VIEW official_overlap IS
    'One row per study and unit: what the parts of the data set''s makers share, whether or not it yields a patch';
COMMENT ON COLUMN official_overlap.study_id IS 'Number of the study';
COMMENT ON COLUMN official_overlap.study IS 'Name of the study';
COMMENT ON COLUMN official_overlap.unit IS 'patient, or image: a patient''s mammogram of one side and view';
COMMENT ON COLUMN official_overlap.shared IS 'How many units have images in more than one of these parts';
COMMENT ON COLUMN official_overlap.examples IS 'At most ten of the shared units';
