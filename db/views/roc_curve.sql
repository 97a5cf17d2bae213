-- The curves of one evaluation are drawn for it alone; a common expression drew those of all runs first.
CREATE VIEW roc_curve AS
SELECT
    e.study_id, e.study, e.run_id, e.evaluation_id, e.backbone, e.strategy, e.seed, e.guidance,
    reached.ordinal, reached.code, reached.threshold,
    (reached.negative / nullif(reached.negatives, 0))::double precision AS false_positive_rate,
    (reached.positive / nullif(reached.positives, 0))::double precision AS true_positive_rate
FROM study_evaluations AS e
CROSS JOIN LATERAL (
    SELECT
        score.ordinal, score.code, score.threshold, sum(score.positive) OVER above AS positive,
        sum(score.negative) OVER above AS negative, sum(score.positive) OVER class AS positives,
        sum(score.negative) OVER class AS negatives
    FROM (
        SELECT
            label.ordinal, label.code, prediction.probabilities[label.ordinal + 1] AS threshold,
            count(*) FILTER (WHERE sample.label_id = label.id) AS positive,
            count(*) FILTER (WHERE sample.label_id <> label.id) AS negative
        FROM prediction
        JOIN sample ON sample.id = prediction.sample_id
        JOIN label AS truth ON truth.id = sample.label_id
        JOIN label ON label.dataset_id = truth.dataset_id
        WHERE prediction.evaluation_id = e.evaluation_id
        GROUP BY label.ordinal, label.code, threshold
    ) AS score
    WINDOW
        class AS (PARTITION BY score.ordinal),
        above AS (PARTITION BY score.ordinal ORDER BY score.threshold DESC)
) AS reached;
COMMENT ON VIEW roc_curve IS 'ROC curve of each class against the rest, one point per distinct probability';
