-- Spearman's coefficient: Pearson's of the ranks, ties at their mean. Interval by Fisher's z with the variance
-- 1.06 / (n - 3) of Fieller, Hartley and Pearson (1957); none for fewer than four pairs, or where all rank alike.
CREATE VIEW transfer_correlations AS
WITH pairs AS (
    SELECT DISTINCT start_run_id, run_id, start_ll, measure, value
    FROM transfer CROSS JOIN LATERAL (VALUES ('auc', auc), ('lift', lift)) AS of (measure, value)
    WHERE start_ll IS NOT NULL AND value IS NOT NULL
), ranks AS (
    SELECT
        measure,
        rank() OVER (PARTITION BY measure ORDER BY start_ll)
        + (count(*) OVER (PARTITION BY measure, start_ll) - 1) / 2.0 AS before,
        rank() OVER (PARTITION BY measure ORDER BY value)
        + (count(*) OVER (PARTITION BY measure, value) - 1) / 2.0 AS after
    FROM pairs
), found AS (
    SELECT measure, corr(before, after) AS rank_correlation, count(*) AS n FROM ranks GROUP BY measure
)
SELECT
    measure, rank_correlation,
    CASE WHEN n > 3 AND abs(rank_correlation) < 1
        THEN tanh(atanh(rank_correlation) - 1.959964 * sqrt(1.06 / (n - 3))) END AS low,
    CASE WHEN n > 3 AND abs(rank_correlation) < 1
        THEN tanh(atanh(rank_correlation) + 1.959964 * sqrt(1.06 / (n - 3))) END AS high,
    n
FROM found;
COMMENT ON VIEW transfer_correlations IS
'Over all pairs of transfer in the record: rank correlation of the patch run''s LL with the films'' AUC, and with their lift';
