"""What guidance does: own, dealt and unguided maps, by size, against plain loops; no gain is shown where none is."""

from collections.abc import Callable
from itertools import pairwise
from typing import Any

import numpy as np
import polars as pl
import pytest

from lesionlens.attribution.scaling import activation_maps
from lesionlens.audits.cells import CELL, Stored
from lesionlens.audits.guided import SIZES, guidance_effects, lesion_thirds, located
from lesionlens.config.evaluation import EvaluationConfig
from lesionlens.frames import FRAMES
from lesionlens.records import SampleArrays

Tiny = Callable[..., SampleArrays]


def on_the_lesion(test: SampleArrays, cells: int = 8) -> np.ndarray[Any, Any]:
    size = test.masks.shape[1]
    grids = test.masks.reshape(len(test.ids), cells, size // cells, cells, size // cells).mean(axis=(2, 4))
    return np.asarray(grids, dtype=np.float32) - 0.01


def test_own_and_dealt_maps_are_those_of_a_plain_loop_and_blank_maps_count(tiny_patches: Tiny) -> None:
    test = tiny_patches().split("test")
    grids = np.random.default_rng(0).normal(size=(len(test.ids), 4, 4)).astype(np.float32)
    lesions = np.flatnonzero(test.has_mask)
    grids[lesions[0]] = -1  # nothing speaks for the class
    found = located(grids, test, "relu_max")
    maps, _ = activation_maps(grids, test.masks.shape[1:], "relu_max")

    def hit(m: int, n: int) -> float:
        return float(maps[m].any() and test.masks[n].ravel()[maps[m].argmax()])

    def energy(m: int, n: int) -> float:
        return float(maps[m][test.masks[n]].sum() / maps[m].sum()) if maps[m].any() else 0.0

    for n in lesions:
        others = [m for m in lesions if test.patients[m] != test.patients[n]]
        assert found["hit"][n] == hit(n, n) and found["energy"][n] == pytest.approx(energy(n, n), abs=1e-5)
        assert found["dealt_hit"][n] == pytest.approx(np.mean([hit(m, n) for m in others]))
        assert found["dealt_energy"][n] == pytest.approx(np.mean([energy(m, n) for m in others]), abs=1e-5)
    assert found["blank"][lesions].tolist() == [1.0] + [0.0] * (len(lesions) - 1)
    assert np.isnan(found["hit"][~test.has_mask]).all()


def test_thirds_are_of_the_area_in_the_full_image(tiny_patches: Tiny) -> None:
    test = tiny_patches().split("test")
    sides = np.random.default_rng(0).permutation(len(test.ids)) * 10 + 30
    fraction = [0.25 if lesion else None for lesion in test.has_mask]
    given = {"sample_id": test.ids, "window_width": sides, "window_height": sides, "mask_fraction": fraction}
    thirds = lesion_thirds(test, pl.DataFrame(given))
    assert (thirds[~test.has_mask] == "").all()
    for smaller, larger in pairwise(SIZES):
        assert sides[thirds == smaller].max() < sides[thirds == larger].min()
    counts = [int((thirds == size).sum()) for size in SIZES]
    assert sum(counts) == test.has_mask.sum() and max(counts) - min(counts) <= 1


def record(test: SampleArrays, grids: dict[int, Any], cells: dict[int, tuple[str, int]]) -> tuple[Stored, pl.DataFrame]:
    """Evaluations by number with these maps, guidance and seeds; every prediction is at chance."""
    places, maps, predictions, rows = [], [], [], []
    for number, (guidance, seed) in cells.items():
        rows.append(("vgg16", "simultaneous", 16, 1e-3, 1e-4, guidance, number, seed))
        for n, sample in enumerate(test.ids.tolist()):
            predictions.append((number, sample, [1 / len(test.classes)] * len(test.classes)))
            maps.append((number, sample, grids[number].shape[1], grids[number][n].ravel().tolist()))
            for method, iou in (("grad_cam", 0.4), ("dealt_maps", 0.1)):
                places.append((number, sample, method, iou if test.has_mask[n] else None, None, None))
    key = {"evaluation_id": pl.Int64, "sample_id": pl.Int64}
    stored = Stored(
        pl.DataFrame(rows, CELL | {"evaluation_id": pl.Int64, "seed": pl.Int64}, orient="row"),
        pl.DataFrame(predictions, key | {"probabilities": pl.List(pl.Float32)}, orient="row"),
        pl.DataFrame(schema={"evaluation_id": pl.Int64} | FRAMES["occlusions"]),
        pl.DataFrame(schema={"evaluation_id": pl.Int64} | FRAMES["swaps"]),
        pl.DataFrame(
            places,
            key | {"method": pl.String} | dict.fromkeys(("iou", "dealt_iou", "random_iou"), pl.Float64),
            orient="row",
        ),
    )
    return stored, pl.DataFrame(maps, key | {"rows": pl.Int64, "grid": pl.List(pl.Float32)}, orient="row")


@pytest.mark.parametrize("follows", [True, False])
def test_cells_are_compared_with_themselves_unguided_seed_by_seed(tiny_patches: Tiny, follows: bool) -> None:
    samples = tiny_patches(240)
    test = samples.split("test")
    plain = np.random.default_rng(1).normal(size=(len(test.ids), 8, 8)).astype(np.float32)
    grids = {1: plain, 2: plain[::-1], 3: on_the_lesion(test) if follows else plain, 4: plain[::-1]}
    guided = "weight 3, fraction 0.1"
    stored, maps = record(test, grids, {1: ("none", 0), 2: ("none", 1), 3: (guided, 0), 4: (guided, 1)})
    ones = np.full(len(samples.ids), 100)
    attributes = pl.DataFrame({"sample_id": samples.ids, "window_width": ones + np.arange(len(ones)),
                               "window_height": ones, "mask_fraction": samples.masks.mean(axis=(1, 2))})  # fmt: skip
    evaluation = EvaluationConfig(resamples=200)
    found = guidance_effects(stored, maps, samples, attributes, {}, evaluation, 0)
    values = {(g, v, m): x for g, v, m, x in found.select("guidance", "variant", "measure", "value").rows()}
    expected = {n: located(grids[n], test, "relu_max")["hit"] for n in grids}
    means = {n: float(np.nanmean(hit)) for n, hit in expected.items()}
    assert values[guided, "all", "hit"] == pytest.approx((means[3] + means[4]) / 2)
    gain = ((means[3] - means[1]) + (means[4] - means[2])) / 2
    assert values[guided, "all", "hit_difference"] == pytest.approx(gain) and values[guided, "all", "auc"] == 0.5
    assert values[guided, "all", "iou_over_dealt"] == pytest.approx(0.3)
    assert values[guided, "all", "auc_difference"] == 0 and not any(
        "difference" in m for g, _, m in values if g == "none"
    )
    assert {v for g, v, m in values if m == "energy_difference"} == {"all", *SIZES}
    row = found.filter(guidance=guided, variant="all", measure="hit_difference").row(0, named=True)
    assert row["seeds"] == 2 and (row["high"] > 0) == follows
    assert (row["low"], row["high"]) == (0, 0) or follows
    assert guidance_effects(stored, maps.clear(), samples, attributes, {}, evaluation, 0).is_empty()
