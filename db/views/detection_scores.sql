CREATE VIEW detection_scores AS
SELECT
    e.study_id, e.study, e.run_id, e.evaluation_id, e.backbone, e.strategy, e.seed, e.guidance,
    score.method, score.measure,
    score.criterion, score.group_name, score.at AS false_marks, score.value, score.low, score.high, score.n, score.reason
FROM study_evaluations AS e
JOIN detection_score AS score ON score.evaluation_id = e.evaluation_id;
COMMENT ON VIEW detection_scores IS
'Marks of films judged: sensitivity, difference from the bright blob, average precision, class of found lesions';
