"""The sweep says at every place what the classifier of patches says of the window there."""

from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from lesionlens.attribution import sweep as module
from lesionlens.attribution.sweep import PatchRun, sweep
from lesionlens.config.evaluation import EvaluationConfig
from lesionlens.localization.baselines import film_maps
from lesionlens.localization.maps import evaluated_split
from lesionlens.localization.samples import lifts
from lesionlens.models.backbones import build
from lesionlens.records import Statistics
from lesionlens.training.inputs import Inputs
from tests.unit.test_evaluate_films import film_arrays

SIZE = 16
CPU = torch.device("cpu")


class Bright:
    """Says lesion, its class 1, by the mean grey of a window."""

    seen: list[int]

    def __init__(self) -> None:
        self.seen = []

    def to(self, device: torch.device) -> "Bright":
        return self

    def eval(self) -> "Bright":
        return self

    def logits(self, inputs: Tensor) -> Tensor:
        self.seen.append(len(inputs))
        assert inputs.shape[1:] == (3, SIZE, SIZE)
        mean = inputs.mean(dim=(1, 2, 3))
        return torch.stack([-mean, mean, torch.full_like(mean, -50)], dim=1)


def run(model: Any, normalise: Any = "train", lesion: tuple[int, ...] = (1,)) -> PatchRun:
    return PatchRun(model, normalise, (Statistics(None, 0.4, 0.1),), lesion, SIZE)


def test_a_cell_is_the_mean_of_what_the_classifier_says_of_the_windows_that_hold_it() -> None:
    films, model = film_arrays(6, marked=False), build("resnet18", 3, seed=0)
    found = sweep(run(model, lesion=(1, 2)), films, [1, 4], CPU)
    assert found.shape == (2, 36, 24) and films.breasts is not None  # six cells to a window's side, films of 96 x 64
    tops, lefts = np.linspace(0, 80, 16).round(), np.linspace(0, 48, 10).round()
    for grid, row in zip(found, (1, 4), strict=True):
        for cell in ((14, 6), (20, 8), (4, 0), (32, 17)):
            centre = [(at + 0.5) * 16 / 6 for at in cell]
            said = []
            for y, x in ((int(y), int(x)) for y in tops for x in lefts):
                if all(begin <= int(at) < begin + SIZE for begin, at in zip((y, x), centre, strict=True)):
                    grey = films.pixels[row][y : y + SIZE, x : x + SIZE] / np.float32(255)
                    pixels = torch.from_numpy((grey - np.float32(0.4)) / np.float32(0.1))[None, None]
                    with torch.no_grad():
                        logits = model.logits(pixels.expand(-1, 3, -1, -1))
                    said.append(float(torch.softmax(logits, dim=1)[0, 1:].sum()))
            assert 1 <= len(said) <= 16 and grid[cell] == pytest.approx(np.mean(said), abs=1e-5)


def test_windows_off_the_breast_are_not_looked_at_and_memory_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    films, model = film_arrays(4, marked=False), Bright()
    assert films.breasts is not None
    monkeypatch.setattr(module, "BATCH", 7)
    monkeypatch.setattr(module, "together", lambda most, shape: most)
    found = sweep(run(model), films, range(4), CPU)
    rows, columns = (np.arange(count) * 16 // 6 + 1 for count in found.shape[1:])
    inside = films.breasts[:, rows // 4][:, :, columns // 4]
    assert not found[~inside].any() and (found[inside] > 0).all()
    # the breast ends at 88 and 48: the windows in the columns beyond show none of it
    assert max(model.seen) == 7 and sum(model.seen) == 4 * 16 * 9
    monkeypatch.setattr(module, "BATCH", 10_000)
    assert np.array_equal(sweep(run(Bright(), "per_class"), films, range(4), CPU), found)


def test_a_sweep_that_knows_lesions_has_lift_and_one_of_random_weights_has_none() -> None:
    films = film_arrays(120, marked=False)
    split = evaluated_split(Inputs(films, "train", CPU), EvaluationConfig(resamples=100, randomisation_samples=0))
    knows = {m.method: m for m in film_maps(split, run(Bright()))}
    assert list(knows) == ["breast", "bright_blob", "sweep"] and "sweep" not in {m.method for m in film_maps(split)}
    assert knows["sweep"].is_reference and knows["sweep"].grids is not None and not knows["sweep"].is_baseline
    lift = lifts(knows["sweep"].scores.energy, split.test)
    [*_, random] = film_maps(split, run(build("resnet18", 3, seed=1), lesion=(1, 2)))
    chance = lifts(random.scores.energy, split.test)
    assert np.median(lift) > 2 > 1.3 > np.median(chance) and knows["sweep"].scores.hit.mean() > 0.9
