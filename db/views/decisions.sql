CREATE VIEW decisions AS
SELECT
    study.id AS study_id, study.name AS study, decision.backbone, decision.strategy, decision.batch_size,
    decision.head_rate, decision.unit1_rate, decision.selected, decision.seeds, decision.question, decision.group_name,
    decision.variant, decision.measure, decision.value, decision.low, decision.high, decision.lesions,
    decision.patients, decision.reason
FROM decision
JOIN study ON study.id = decision.study_id;
COMMENT ON VIEW decisions IS
'What the answer rests on: measures of every model over its seeds, by question, group of lesions and variant of the test';
