"""Strata and quadrants against plain filtering."""

import numpy as np
import polars as pl
import pytest

from lesionlens.config import EvaluationConfig
from lesionlens.evaluation.strata import STRATA, mask_fraction_band, quadrants, strata

CONFIG = EvaluationConfig(resamples=200)


def samples(count: int = 120) -> pl.DataFrame:
    generator = np.random.default_rng(0)
    lesion = np.arange(count) % 4 > 0
    return pl.DataFrame(
        {
            "patch_id": np.arange(count),
            "label": np.arange(count) % 4,
            "patient": [f"P_{i // 3}" for i in range(count)],
            "is_lesion": lesion,
            "correct": generator.random(count) < 0.7,
            "iou": [float(v) if kept else None for v, kept in zip(generator.random(count), lesion, strict=True)],
            "hit": [bool(v) if kept else None for v, kept in zip(generator.random(count) < 0.5, lesion, strict=True)],
            "density": [None if i % 10 == 0 else 1 + i % 3 for i in range(count)],
            "view": ["CC" if i % 2 else "MLO" for i in range(count)],
        }
    )


def test_every_level_is_the_filtered_mean() -> None:
    table = samples()
    frame = strata(table, ("density", "view"), CONFIG, seed=0)
    assert frame.schema == pl.Schema(STRATA)
    assert frame["level"].unique(maintain_order=True).to_list() == ["1", "2", "3", "unknown", "CC", "MLO"]
    row = frame.filter(stratum="density", level="2", score="ll").row(0, named=True)
    chosen = table.filter((pl.col("density") == 2) & pl.col("correct") & pl.col("is_lesion"))
    assert (row["n"], row["value"]) == (chosen.height, pytest.approx(chosen["iou"].mean()))
    assert row["low"] < row["value"] < row["high"]
    unknown = frame.filter(level="unknown", score="accuracy").row(0, named=True)
    assert unknown["value"] == pytest.approx(table.filter(pl.col("density").is_null())["correct"].mean())


def test_a_level_without_lesions_says_so() -> None:
    table = samples().with_columns(kind=pl.when("is_lesion").then(pl.lit("lesion")).otherwise(pl.lit("background")))
    frame = strata(table, ("kind",), CONFIG, seed=0)
    row = frame.filter(level="background", score="ll").row(0, named=True)
    assert (row["value"], row["low"], row["n"], row["reason"]) == (None, None, 0, "no_samples")
    assert strata(table, (), CONFIG, seed=0).schema == pl.Schema(STRATA)


def test_mask_fractions_fall_into_five_bands() -> None:
    frame = pl.DataFrame({"f": [0.0, 0.049, 0.05, 0.3, 0.4, 1.0, None]})
    bands = frame.select(mask_fraction_band(pl.col("f"))).to_series().to_list()
    first, last = "0.00 to 0.05", "0.40 to 1.00"
    assert bands == [first, first, "0.05 to 0.10", "0.20 to 0.40", last, last, None]


def test_quadrants_hold_every_scored_lesion_once() -> None:
    table = samples()
    frame = quadrants(table)
    assert frame.height == 3 * 4 and frame["n"].sum() == table["is_lesion"].sum()
    wrong_reason = frame.filter(label=2, correct=True, located=False).row(0, named=True)
    expected = table.filter(pl.col("label") == 2, pl.col("correct"), ~pl.col("hit"))["patch_id"].to_list()
    assert wrong_reason["patch_ids"] == expected and wrong_reason["n"] == len(expected)
    np.testing.assert_allclose(frame.group_by("label").agg(pl.col("share").sum())["share"].to_numpy(), 1)
    located = quadrants(table.with_columns(hit=pl.col("hit").is_not_null() | None))
    assert located.filter(pl.col("n") == 0)["patch_ids"].to_list() == [[]] * 6
