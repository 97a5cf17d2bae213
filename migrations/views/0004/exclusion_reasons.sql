CREATE VIEW exclusion_reasons AS
SELECT study.id AS study_id, study.name AS study, exclusion.reason, count(*) AS lesions
FROM study
JOIN exclusion ON exclusion.sample_set_id = study.sample_set_id
GROUP BY study.id, exclusion.reason;
COMMENT ON VIEW exclusion_reasons IS 'How many lesions yielded no patch, by reason';
COMMENT ON COLUMN exclusion_reasons.study_id IS 'Number of the study';
COMMENT ON COLUMN exclusion_reasons.study IS 'Name of the study';
COMMENT ON COLUMN exclusion_reasons.reason IS 'Fixed short code';
COMMENT ON COLUMN exclusion_reasons.lesions IS 'How many lesions; images left out whole count as one';
