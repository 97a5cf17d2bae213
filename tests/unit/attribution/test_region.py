"""A network that reads one region, by construction: a map shows it, or deletion and insertion say it does not."""

from functools import cache

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from lesionlens.attribution.registry import METHODS
from lesionlens.audits.faithfulness import faithfulness, faithfulness_scores
from lesionlens.config.evaluation import ALL, Method
from lesionlens.scoring.bootstrap import draw
from lesionlens.training.inputs import Inputs
from tests.unit.arrays import plain

SIDE, COUNT = 56, 12
HALF = SIDE // 2


class Layer(nn.Module):
    """Brightness of the first corner in one channel, of the last in the other."""

    def forward(self, images: Tensor) -> Tensor:
        grey = images.mean(dim=1)
        seen = torch.zeros(len(images), 2, SIDE, SIDE)
        seen[:, 0, :HALF, :HALF] = grey[:, :HALF, :HALF]
        seen[:, 1, HALF:, HALF:] = grey[:, HALF:, HALF:]
        return torch.relu(seen)


def reader() -> nn.Sequential:
    """Class 1 is the mean of the first corner, class 0 that of the last."""
    head = nn.Linear(2, 2, bias=False)
    with torch.no_grad():
        head.weight.copy_(torch.tensor([[0.0, 20.0], [20.0, 0.0]]))
    return nn.Sequential(Layer(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), head).eval()


@cache
def inputs() -> Inputs:
    """Corners of four greys: the first bright, the last the brightest, which is evidence against class 1."""
    grey = np.random.default_rng(0).integers(0, 20, (COUNT, SIDE, SIDE)).astype(np.uint8)
    grey[:, :HALF, :HALF] += 180
    grey[:, HALF:, HALF:] += 200
    return Inputs(plain(grey), "train", torch.device("cpu"))


def maps_of_class_1(method: Method) -> np.ndarray:
    model, given = reader(), inputs()
    labels = np.ones(COUNT, dtype=np.int64)
    return METHODS[method].maps(model, given(list(range(COUNT))), labels, model[0], "logit")


def energy(maps: np.ndarray) -> float:
    """Proportion of the positive part in the first corner."""
    positive, half = np.maximum(maps, 0), maps.shape[1] // 2
    return float(positive[:, :half, :half].sum() / positive.sum())


@pytest.mark.parametrize("method", ALL)
def test_a_map_lies_where_the_network_reads_or_is_seen_not_to(method: Method) -> None:
    model, given, rows = reader(), inputs(), np.arange(COUNT)
    maps = maps_of_class_1(method)
    whole = np.tile(np.array([0.0, 1.0], dtype=np.float32), (COUNT, 1))  # class 1 is followed
    found = faithfulness(model, given, rows, whole, {"own": maps}, np.random.default_rng(0))
    clusters = draw(given.patches.patients, 300, np.random.default_rng(1))
    scores = {
        row["name"]: row
        for row in faithfulness_scores(found, clusters, 0.95).iter_rows(named=True)
        if row["method"] == "own"
    }
    if method == "eigen_cam":  # knows no class: it marks the brightest corner, which speaks for the other one
        assert energy(maps) < 0.1
        assert scores["deletion_gain"]["high"] < 0 and scores["insertion_gain"]["high"] < 0
        return
    assert energy(maps) > 0.85
    if method == "score_cam":  # its weights are never negative: the other corner comes second, not last
        assert scores["insertion_gain"]["value"] < 0
        return
    assert scores["deletion_gain"]["low"] > 0 or scores["insertion_gain"]["low"] > 0
