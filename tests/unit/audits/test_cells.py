"""The networks' AUC against the reference's: better, the same, worse."""

import numpy as np
import polars as pl
from numpy.typing import NDArray

from lesionlens.audits.cells import over_reference
from lesionlens.audits.decision import DECISIONS, Seed, Truth
from lesionlens.config.evaluation import EvaluationConfig

CONFIG = EvaluationConfig(resamples=300)
NONE = np.zeros(0, np.int64)


def told(labels: NDArray[np.int64], skill: float, seed: int) -> NDArray[np.float32]:
    """Probabilities of three classes, of which 0 has no lesion, from logits that know the class by this much."""
    logits = np.random.default_rng(seed).normal(size=(len(labels), 3)) + skill * np.eye(3)[labels]
    found: NDArray[np.float32] = (np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)).astype(np.float32)
    return found


def test_a_network_is_above_a_worse_reference_and_not_above_itself_or_a_better_one() -> None:
    labels = np.arange(240) % 3
    patients = np.array([f"P{i // 2}" for i in range(240)])
    truth = Truth(labels, patients, np.array(["mass"] * 240), labels > 0, [1, 2], [2])
    seeds = [Seed(told(labels, 1.0, n), {}, NONE, NONE, np.zeros((0, 3), np.float32), {}, ()) for n in (0, 1)]
    signs = {}
    for name, reference in (
        ("worse", told(labels, 0.0, 7)),
        ("same", seeds[0].probabilities),
        ("better", told(labels, 2.5, 7)),
    ):
        found = over_reference(truth, seeds, reference, CONFIG, 0)
        assert found.schema == pl.Schema(DECISIONS)
        for question, count in (("detection", 240), ("diagnosis", 160)):
            rows = {row["measure"]: row for row in found.filter(question=question).to_dicts()}
            over, own = rows["auc_over_reference"], rows["auc_reference"]
            assert (over["lesions"], over["seeds"]) == (count, 2) and own["low"] < own["value"] < own["high"]
            assert over["low"] < over["value"] < over["high"]
            signs[name, question] = 1 if over["low"] > 0 else -1 if over["high"] < 0 else 0
    assert [signs[name, "diagnosis"] for name in ("worse", "same", "better")] == [1, 0, -1]
    assert [signs[name, "detection"] for name in ("worse", "same", "better")] == [1, 0, -1]
    alone = Truth(labels, patients, truth.groups, np.ones(240, np.bool_), [0, 1, 2], [2])
    assert set(over_reference(alone, seeds, seeds[0].probabilities, CONFIG, 0)["question"]) == {"diagnosis"}
