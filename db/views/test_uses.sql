CREATE VIEW test_uses AS
SELECT
    study.id AS study_id, study.name AS study, own.test_digest,
    count(DISTINCT evaluation.run_id) AS runs, count(DISTINCT evaluation.id) AS evaluations,
    count(DISTINCT study_run.study_id) FILTER (WHERE evaluation.id IS NOT NULL) AS studies
FROM study
JOIN test_splits AS own ON own.sample_set_id = study.sample_set_id
JOIN test_splits AS same ON same.test_digest = own.test_digest
LEFT JOIN run ON run.sample_set_id = same.sample_set_id
LEFT JOIN evaluation ON evaluation.run_id = run.id
LEFT JOIN study_run ON study_run.run_id = evaluation.run_id
GROUP BY study.id, own.test_digest;
COMMENT ON VIEW test_uses IS
'How often a study''s test split was evaluated in this record, by whatever study: each time favours what was chosen by it';
