CREATE VIEW classes AS
SELECT
    study.id AS study_id,
    study.name AS study,
    label.code,
    label.name,
    label.group_name,
    label.ordinal,
    label.is_lesion
FROM study
JOIN sample_set ON sample_set.id = study.sample_set_id
JOIN label ON label.dataset_id = sample_set.dataset_id;
COMMENT ON VIEW classes IS 'One row per study and class';
COMMENT ON COLUMN classes.study_id IS 'Number of the study';
COMMENT ON COLUMN classes.study IS 'Name of the study';
COMMENT ON COLUMN classes.code IS 'Short code, for example MM';
COMMENT ON COLUMN classes.name IS 'Name in words';
COMMENT ON COLUMN classes.group_name IS 'Group for pooled reporting';
COMMENT ON COLUMN classes.ordinal IS 'Position among the classes, from 0';
COMMENT ON COLUMN classes.is_lesion IS 'Whether patches of this class hold a lesion';
