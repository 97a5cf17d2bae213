"""Energy and rank accuracy against their published formulas (Arras et al., Information Fusion 81, 2022), one by one.

quantus implements the same two formulas (Relevance Mass Accuracy, Relevance Rank Accuracy) and would be the natural
oracle. It is not installed: it drags in a second OpenCV beside the one that the map package brings. So the formulas are
transcribed here, sample by sample.
"""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lesionlens.attribution.scaling import activation_maps
from lesionlens.localization.metrics import energies, rank_scores

SIDE = 24


def mass_accuracy(relevance: np.ndarray, truth: np.ndarray) -> float:
    """R_within / R_total: relevance of the pixels in the mask over that of all pixels."""
    within = math.fsum(float(r) for r, inside in zip(relevance.ravel(), truth.ravel(), strict=True) if inside)
    return within / math.fsum(float(r) for r in relevance.ravel())


def rank_accuracy(relevance: np.ndarray, truth: np.ndarray) -> float:
    """|P_top-K and GT| / K, K the pixels of the mask, P_top-K the K most relevant ones."""
    inside = set(np.flatnonzero(truth).tolist())
    strongest = sorted(range(relevance.size), key=lambda pixel: float(relevance.ravel()[pixel]), reverse=True)
    return len(inside & set(strongest[: len(inside)])) / len(inside)


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 2**32 - 1))
def test_energy_and_rank_accuracy_are_the_published_formulas(seed: int) -> None:
    generator = np.random.default_rng(seed)
    grids = generator.normal(size=(2, 5, 5)).astype(np.float32) + np.float32(0.5)
    maps, blank = activation_maps(grids, SIDE, "minmax")
    maps += generator.random(maps.shape).astype(np.float32) * np.float32(1e-3)  # no two pixels alike
    masks = generator.random(maps.shape) < generator.uniform(0.02, 0.9)
    masks[:, 0, 0] = True
    assert not blank.any()
    ranked = rank_scores(maps, masks).rank_accuracy
    for n, (relevance, truth) in enumerate(zip(maps, masks, strict=True)):
        assert energies(maps, masks)[n] == pytest.approx(mass_accuracy(relevance, truth), abs=1e-9)
        assert ranked[n] == pytest.approx(rank_accuracy(relevance, truth), abs=1e-12)


def test_where_pixels_tie_ours_is_the_mean_over_every_order() -> None:
    """The published formula leaves ties to the sorting; ours takes what any order gives on average."""
    relevance = np.array([[[1, 0.5, 0.5], [0.5, 0, 0], [0, 0, 0]]], dtype=np.float32)
    truth = np.array([[[1, 1, 0], [0, 0, 0], [0, 0, 0]]], dtype=np.bool_)
    generator = np.random.default_rng(0)
    drawn = [rank_accuracy(relevance[0] + generator.random((3, 3)) * 1e-3, truth[0]) for _ in range(4000)]
    assert rank_scores(relevance, truth).rank_accuracy[0] == pytest.approx(np.mean(drawn), abs=0.02)
