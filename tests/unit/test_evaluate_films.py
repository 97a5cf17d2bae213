"""Whole films evaluated: what finds lesions has lift, what reads a marker elsewhere has none, however right it is."""

from dataclasses import replace

import numpy as np
import polars as pl
import pytest
import torch
from torch import nn

from lesionlens.config.evaluation import EvaluationConfig
from lesionlens.config.examination import InputSpec
from lesionlens.evaluate import EvaluationInputs, evaluate
from lesionlens.localization.baselines import bright_blobs
from lesionlens.localization.samples import lifts
from lesionlens.models.own import OwnNetwork
from lesionlens.records import Evaluation, SampleArrays, Statistics

pytestmark = pytest.mark.usefixtures("thin")

HEIGHT, WIDTH, SCALE = 96, 64, 4
CONFIG = EvaluationConfig(resamples=200, randomisation_samples=0, explains="contrast")


def film_arrays(count: int, marked: bool, seed: int = 0) -> SampleArrays:
    """Films with a lesion each, benign and malignant in turn. marked: malignant ones alone have a white square anywhere
    in the breast, and lesions are alike; else malignant lesions are brighter.
    """
    random = np.random.default_rng(seed)
    pixels = np.zeros((count, HEIGHT, WIDTH), dtype=np.uint8)
    pixels[:, 8:88, :48] = random.integers(80, 100, (count, 80, 48))
    masks = np.zeros((count, HEIGHT // SCALE, WIDTH // SCALE), dtype=np.bool_)
    breasts = np.zeros_like(masks)
    breasts[:, 2:22, :12] = True
    for n in range(count):
        row, column = SCALE * random.integers(2, 18), SCALE * random.integers(0, 8)
        masks[n, row // SCALE : row // SCALE + 4, column // SCALE : column // SCALE + 4] = True
        pixels[n, row : row + 16, column : column + 16] = 200 if n % 2 and not marked else 140
        if marked and n % 2:
            row, column = random.integers(8, 72), random.integers(0, 32)
            pixels[n, row : row + 16, column : column + 16] = 200
    splits = np.array(["test", "test", "test", "test", "test", "test", "train", "train", "validation", "validation"])
    return SampleArrays(
        digest="films", classes=("BENIGN", "MALIGNANT"), ids=np.arange(count, dtype=np.int64), pixels=pixels,
        masks=masks, labels=np.arange(count, dtype=np.int64) % 2, splits=splits[np.arange(count) % 10],
        patients=np.array([f"P{n}" for n in range(count)]), has_mask=np.ones(count, dtype=np.bool_),
        groups=("benign", "malignant"), statistics=(Statistics(None, 0.0, 1.0),), breasts=breasts,
    )  # fmt: skip


def reader() -> OwnNetwork:
    """Says malignant where something is white, and shows where: a map of 12 x 8 cells."""
    convolution, head = nn.Conv2d(1, 1, 1), nn.Linear(1, 2)
    with torch.no_grad():
        convolution.weight.fill_(1.0)
        convolution.bias.fill_(-0.6)
        head.weight.copy_(torch.tensor([[-900.0], [900.0]]))
        head.bias.copy_(torch.tensor([1.0, -1.0]))
    block = nn.Sequential(nn.AvgPool2d(8, 8), convolution, nn.ReLU())
    network = nn.Sequential(block, nn.AdaptiveAvgPool2d(1), nn.Flatten(), head)
    return OwnNetwork(network, [0, 1], InputSpec(size=96, normalise="none", channels=1), "0")


def evaluated(films: SampleArrays) -> Evaluation:
    attributes = pl.DataFrame({"sample_id": films.ids})
    given = EvaluationInputs("train", CONFIG, films, attributes, 0, None)
    return evaluate(reader(), given, "cpu")


def score(
    found: Evaluation, name: str, method: str | None = None, group: str = "malignant"
) -> tuple[float, float, float]:
    rows = found.frames["run_scores"].filter(name=name, population="lesions", group_name=group)
    if method is not None:
        rows = rows.filter(method=method).filter(pl.col("target").is_in(["predicted", "none"]))
    [row] = rows.select("value", "low", "high").rows()
    return row


def auc(found: Evaluation) -> float:
    [value] = found.frames["run_scores"].filter(name="malignant_auc")["value"]
    return float(value)


def test_a_reader_of_markers_is_right_without_lift_and_a_reader_of_lesions_with() -> None:
    blind, sees = evaluated(film_arrays(400, marked=True)), evaluated(film_arrays(400, marked=False))
    assert auc(blind) > 0.98 and auc(sees) > 0.98
    value, low, high = score(blind, "lift", "grad_cam")
    assert low < 1.3 and high > 0.7 and value < 2
    assert score(sees, "lift", "grad_cam")[1] > 4
    assert score(blind, "hit_rate", "grad_cam")[0] < 0.25 < 0.9 < score(sees, "hit_rate", "grad_cam")[0]
    drop, seen = (score(found, "occlusion_difference") for found in (blind, sees))
    assert abs(drop[0]) < 0.15 < 0.6 < seen[0]
    for found in (blind, sees):
        assert score(found, "lift", "breast") == pytest.approx((1, 1, 1))
        assert score(found, "lift", "whole_patch")[0] == pytest.approx(20 * 12 / (24 * 16), rel=0.01)
    places = sees.frames["occlusions"].filter(variant="smooth")
    assert (places["places"] > 0).mean() > 0.9


def test_bright_blobs_are_found_where_lesions_are_bright() -> None:
    films = film_arrays(60, marked=False)
    assert films.breasts is not None
    maps = bright_blobs(films, 2.3)
    assert maps.max() == pytest.approx(1) and not maps[~films.breasts].any()
    energy = np.where(films.masks, maps, 0).sum(axis=(1, 2)) / maps.sum(axis=(1, 2))
    found = lifts(energy, films)
    assert found.min() > 1.5 and np.median(found) > 3


def test_lift_is_one_for_the_breast_and_nothing_for_patches() -> None:
    films = film_arrays(20, marked=False)
    assert films.breasts is not None
    share = films.masks.sum(axis=(1, 2)) / films.breasts.sum(axis=(1, 2))
    assert lifts(share.astype(np.float64), films) == pytest.approx(np.ones(20))
    assert np.isnan(lifts(share, replace(films, breasts=None))).all()
    assert np.isnan(lifts(share, replace(films, masks=films.masks & ~films.breasts))).all()
