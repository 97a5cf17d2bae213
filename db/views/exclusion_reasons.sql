CREATE VIEW exclusion_reasons AS
SELECT study.id AS study_id, study.name AS study, exclusion.reason, count(*) AS lesions
FROM study
JOIN exclusion ON exclusion.sample_set_id = study.sample_set_id
GROUP BY study.id, exclusion.reason;
COMMENT ON VIEW exclusion_reasons IS 'How many lesions yielded no sample, by reason';
