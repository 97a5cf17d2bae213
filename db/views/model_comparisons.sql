CREATE VIEW model_comparisons AS
WITH pair AS (
    SELECT
        comparison.*, a.run_id AS run_a, b.run_id AS run_b, run_a.backbone AS backbone_a, run_b.backbone AS backbone_b,
        run_a.strategy AS strategy_a, run_b.strategy AS strategy_b, run_a.seed AS seed_a, run_b.seed AS seed_b,
        ROW(
            run_a.backbone, run_a.strategy, run_a.batch_size, run_a.head_rate, run_a.unit1_rate, run_a.guidance
        )::text AS cell_a,
        ROW(
            run_b.backbone, run_b.strategy, run_b.batch_size, run_b.head_rate, run_b.unit1_rate, run_b.guidance
        )::text AS cell_b
    FROM comparison
    JOIN evaluation AS a ON a.id = comparison.evaluation_a
    JOIN evaluation AS b ON b.id = comparison.evaluation_b
    JOIN run AS run_a ON run_a.id = a.run_id
    JOIN run AS run_b ON run_b.id = b.run_id
),

-- of two cells the one that stands first in the alphabet minus the other, whichever of two runs is the older
directed AS (
    SELECT pair.*, CASE WHEN cell_a <= cell_b THEN 1 ELSE -1 END AS sign FROM pair
),

ranged AS (
    SELECT
        directed.*, count(*) FILTER (WHERE seed_a = seed_b) OVER cells AS seeds,
        min(sign * difference) FILTER (WHERE seed_a = seed_b) OVER cells AS least,
        max(sign * difference) FILTER (WHERE seed_a = seed_b) OVER cells AS most
    FROM directed
    WINDOW cells AS (PARTITION BY study_id, score, least(cell_a, cell_b), greatest(cell_a, cell_b))
)

SELECT
    study.id AS study_id, study.name AS study, run_a, backbone_a, strategy_a, seed_a, run_b, backbone_b, strategy_b,
    seed_b, score, value_a, value_b, difference, low, high, p, p_holm, n, seeds,
    CASE sign WHEN 1 THEN least ELSE -most END AS lowest, CASE sign WHEN 1 THEN most ELSE -least END AS highest
FROM ranged
JOIN study ON study.id = ranged.study_id;
COMMENT ON VIEW model_comparisons IS
'One row per study, two of its runs and score: the paired difference, and its range over runs of equal seeds';
