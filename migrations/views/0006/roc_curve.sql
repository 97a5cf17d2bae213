CREATE VIEW roc_curve AS
WITH score AS (
    SELECT
        prediction.evaluation_id,
        label.id AS label_id,
        prediction.probabilities[label.ordinal + 1] AS threshold,
        count(*) FILTER (WHERE sample.label_id = label.id) AS positive,
        count(*) FILTER (WHERE sample.label_id <> label.id) AS negative
    FROM prediction
    JOIN sample ON sample.id = prediction.sample_id
    JOIN label AS truth ON truth.id = sample.label_id
    JOIN label ON label.dataset_id = truth.dataset_id
    GROUP BY prediction.evaluation_id, label.id, threshold
),
reached AS (
    SELECT
        evaluation_id,
        label_id,
        threshold,
        sum(positive) OVER above AS positive,
        sum(negative) OVER above AS negative,
        sum(positive) OVER class AS positives,
        sum(negative) OVER class AS negatives
    FROM score
    WINDOW
        class AS (PARTITION BY evaluation_id, label_id),
        above AS (PARTITION BY evaluation_id, label_id ORDER BY threshold DESC)
)
SELECT
    e.study_id,
    e.study,
    e.run_id,
    e.evaluation_id,
    e.backbone,
    e.strategy,
    e.seed,
    label.ordinal,
    label.code,
    reached.threshold,
    (reached.negative / nullif(reached.negatives, 0))::double precision AS false_positive_rate,
    (reached.positive / nullif(reached.positives, 0))::double precision AS true_positive_rate
FROM study_evaluations AS e
JOIN reached ON reached.evaluation_id = e.evaluation_id
JOIN label ON label.id = reached.label_id;
COMMENT ON VIEW roc_curve IS
'ROC curve of each class against the rest, one point per distinct probability';
COMMENT ON COLUMN roc_curve.study_id IS 'Number of the study';
COMMENT ON COLUMN roc_curve.study IS 'Name of the study';
COMMENT ON COLUMN roc_curve.run_id IS 'Number of the run';
COMMENT ON COLUMN roc_curve.evaluation_id IS 'Number of the evaluation';
COMMENT ON COLUMN roc_curve.backbone IS 'Network';
COMMENT ON COLUMN roc_curve.strategy IS 'Unfreezing: gradual or simultaneous';
COMMENT ON COLUMN roc_curve.seed IS 'Seed of initial head and batch order';
COMMENT ON COLUMN roc_curve.ordinal IS 'Position of the class';
COMMENT ON COLUMN roc_curve.code IS 'Code of the class';
COMMENT ON COLUMN roc_curve.threshold IS 'Samples with at least this probability count as positive';
COMMENT ON COLUMN roc_curve.false_positive_rate IS 'Share of other classes'' samples counted; NULL without any';
COMMENT ON COLUMN roc_curve.true_positive_rate IS 'Share of the class''s samples counted; NULL without any';
