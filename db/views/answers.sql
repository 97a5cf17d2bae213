CREATE VIEW answers AS
SELECT
    study.id AS study_id, study.name AS study, answer.run_id, run.backbone, run.strategy, run.seed, run.guidance,
    answer.question, answer.group_name, answer.verdict,
    answer.measure, answer.number, answer.low, answer.high, answer.n, answer.n_patients, answer.reasons, answer.sentence
FROM answer
JOIN study ON study.id = answer.study_id
JOIN run ON run.id = answer.run_id;
COMMENT ON VIEW answers IS
'The answers of a study: detection and diagnosis, of all lesions and of each group, with the number that decided each';
