"""What `benchmarks.real` prints of studies that were evaluated, by SQL from the record."""

from typing import LiteralString

import polars as pl

from db.bulk import frame
from db.engine import make_engine

DECIDED: LiteralString = """
    SELECT strategy, guidance, question, variant, measure, value, low, high, lesions FROM decisions
    WHERE study = %(study)s AND group_name IS NULL AND value IS NOT NULL
    ORDER BY question, variant, measure, strategy, guidance"""
RECALLS: LiteralString = """
    SELECT own.strategy || ', guidance ' || runs.guidance AS model, own.seed, own.code, own.support, own.recall,
        own.recall_low, own.recall_high
    FROM class_scores AS own JOIN runs USING (study_id, run_id)
    WHERE own.study = %(study)s ORDER BY model, own.seed, own.ordinal"""
METHODS: LiteralString = """
    SELECT own.strategy || ', guidance ' || runs.guidance AS model, own.seed, own.method, own.ll, own.low,
        own.high, own.n, gap.baseline, gap.difference, gap.low AS gap_low, gap.high AS gap_high
    FROM localization_scores AS own
    JOIN runs USING (study_id, run_id)
    JOIN evaluation ON evaluation.id = own.evaluation_id
    JOIN baseline_differences AS gap
        ON gap.study_id = own.study_id AND gap.evaluation_id = own.evaluation_id AND gap.method = own.method
        AND gap.target = own.target AND gap.policy = own.policy AND gap.population = own.population
        AND gap.group_name = own.group_name
    WHERE own.study = %(study)s AND own.target = 'predicted' AND own.policy = evaluation.config ->> 'policy'
        AND own.population = 'correct_lesions' AND own.group_name = 'all'
    ORDER BY model, own.seed, own.method, gap.baseline"""
COMPARED: LiteralString = """
    SELECT seed_a, strategy_a, strategy_b, score, value_a, value_b, difference, low, high, n FROM model_comparisons
    WHERE study = %(study)s AND seed_a = seed_b AND strategy_a <> strategy_b ORDER BY score, seed_a"""
LOSSES: LiteralString = """
    SELECT one.seed, one.validation_loss AS one, other.validation_loss AS other
    FROM selection_losses AS one
    JOIN selection_losses AS other
        ON other.seed = one.seed AND other.backbone = one.backbone AND other.strategy = one.strategy
    WHERE one.study = %(one)s AND other.study = %(other)s ORDER BY one.seed"""
PAIRS: LiteralString = """
    SELECT one.seed, one.predicted_code = other.predicted_code AS same,
        abs(one.probability_true - other.probability_true) AS apart, one_map.grid AS one, other_map.grid AS other
    FROM sample_results AS one
    JOIN sample_results AS other
        ON other.seed = one.seed AND other.backbone = one.backbone AND other.strategy = one.strategy
        AND other.sample_id = one.sample_id
    JOIN map_scores AS one_map
        ON one_map.evaluation_id = one.evaluation_id AND one_map.sample_id = one.sample_id
        AND one_map.study_id = one.study_id AND one_map.method = one.method AND one_map.target = 'true'
        AND one_map.policy = one.policy
    JOIN map_scores AS other_map
        ON other_map.evaluation_id = other.evaluation_id AND other_map.sample_id = other.sample_id
        AND other_map.study_id = other.study_id AND other_map.method = one.method AND other_map.target = 'true'
        AND other_map.policy = one_map.policy
    WHERE one.study = %(one)s AND other.study = %(other)s"""


def interval(value: float, low: float | None, high: float | None) -> str:
    """Value and interval, if it has one."""
    return f"{value:.3f}" if low is None or high is None else f"{value:.3f} ({low:.3f} to {high:.3f})"


def decided(title: str) -> None:
    """Print what the decisions of a study rest on, recalls, localisation scores beside baselines, and strategies of
    equal seeds compared."""
    queries = (DECIDED, RECALLS, METHODS, COMPARED)
    with make_engine().connect() as connection:
        rows, recalls, methods, compared = (frame(connection, query, study=title) for query in queries)
    for strategy, guidance, question, variant, measure, value, low, high, lesions in rows.rows():
        of = f"{question}, {variant}, {measure}, {strategy}, guidance {guidance}"
        print(f"  {of}: {interval(value, low, high)}, n {lesions}")
    for model, seed, code, support, recall, low, high in recalls.rows():
        print(f"  recall of {code}, {model}, seed {seed}: {interval(recall, low, high)}, n {support}")
    for own in methods.partition_by("model", "seed", "method", maintain_order=True):
        model, seed, method, ll, low, high, n, *_ = own.row(0)
        print(f"  LL of {method}, {model}, seed {seed}: {interval(ll, low, high)}, n {n}")
        for baseline, *gap in own.drop_nulls("difference").select(own.columns[7:]).rows():
            print(f"    minus {baseline}: {interval(*gap)}")
    for seed, one, other, score, first, second, difference, low, high, n in compared.rows():
        print(
            f"  {score}, {one} minus {other}, seed {seed}: {first:.3f} and {second:.3f},"
            f" {interval(difference, low, high)}, n {n}"
        )


def agreement(one: str, other: str) -> None:
    """Print, by seed, how far two studies of the same samples and seeds are apart: losses, predictions, maps."""
    with make_engine().connect() as connection:
        losses, pairs = (frame(connection, query, one=one, other=other) for query in (LOSSES, PAIRS))
    for seed, first, second in losses.rows():
        print(f"  seed {seed}: validation loss {first:.4f} and {second:.4f}")
    for rows in pairs.partition_by("seed", maintain_order=True):
        correlations = pl.Series([_correlation(a, b) for a, b in rows.select("one", "other").rows()]).drop_nans()
        quarters = ", ".join(f"{correlations.quantile(each):.3f}" for each in (0.25, 0.5, 0.75))
        same, apart, most = rows.select(pl.mean("same"), pl.mean("apart"), pl.max("apart").alias("most")).row(0)
        print(
            f"  seed {rows['seed'][0]}, {len(rows)} samples: the same class in {100 * same:.1f} %, probability of the"
            f" true class apart by {apart:.4f} in the mean, {most:.4f} at most; maps of the true class correlate by"
            f" {quarters} (quartiles), {len(rows) - len(correlations)} are even"
        )


def _correlation(one: list[float], other: list[float]) -> float:
    """Of two maps' cells; NaN where either is the same everywhere."""
    found = pl.DataFrame({"one": one, "other": other}).select(pl.corr("one", "other")).item()
    return float("nan") if found is None else float(found)
