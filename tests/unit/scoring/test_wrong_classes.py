"""Mean IoU of the lesions whose predicted class is wrong."""

import numpy as np
import polars as pl
import pytest

from lesionlens.scoring.bootstrap import draw, interval, ratios
from lesionlens.scoring.localization import wrong_class_scores

OPTIONS = (500, 0.9, 7)


@pytest.fixture
def samples():
    random = np.random.default_rng(1)
    n = 60
    return pl.DataFrame({
        "run_id": np.repeat([4, 2], n // 2), "patient": [f"P{k}" for k in random.integers(0, 12, n)],
        "correct": random.random(n) < 0.5, "confidence": random.random(n), "iou": random.random(n),
    })  # fmt: skip


def test_means_and_intervals_are_those_of_the_wrong_lesions(samples):
    found = wrong_class_scores(samples, *OPTIONS)
    assert found["run_id"].to_list() == [4, 2]
    for row in found.to_dicts():
        wrong = samples.filter(~pl.col("correct"), run_id=row["run_id"])
        iou = wrong["iou"].to_numpy()
        clusters = draw(wrong["patient"].to_numpy(), 500, np.random.default_rng(7))
        low, high = interval(
            ratios(iou[:, None], np.ones((len(iou), 1), dtype=bool), clusters), 0.9, wrong["patient"].n_unique()
        )
        expected = (pytest.approx(iou.mean()), low[0], high[0], len(iou))
        assert (row["value"], row["low"], row["high"], row["n"]) == expected


def test_samples_without_a_score_do_not_count(samples):
    """Background has no IoU; nor has a lesion whose map is blank."""
    more = samples.with_columns(correct=pl.lit(False), iou=pl.lit(None, pl.Float64))
    unsure = samples.with_columns(correct=pl.lit(False), confidence=pl.lit(None, pl.Float64))
    assert wrong_class_scores(pl.concat([samples, more, unsure]), *OPTIONS).equals(
        wrong_class_scores(samples, *OPTIONS)
    )


def test_one_patient_has_no_interval_and_a_run_that_is_always_right_no_row(samples):
    alone = samples.with_columns(patient=pl.lit("P"), correct=pl.col("correct") | (pl.col("run_id") == 2))
    (row,) = wrong_class_scores(alone, *OPTIONS).to_dicts()
    assert (row["run_id"], row["low"], row["high"]) == (4, None, None) and row["value"] is not None
    none = wrong_class_scores(samples.with_columns(correct=pl.lit(True)), *OPTIONS)
    assert none.is_empty() and none.columns == ["run_id", "value", "low", "high", "n", "reason"]
