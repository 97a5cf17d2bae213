"""Swap test on models that are known to read the lesion, or what surrounds it."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn.functional import avg_pool2d

from lesionlens.audits.occlusion import lesion_regions
from lesionlens.audits.swap import Swaps, pasted, swap_pairs, swap_test
from lesionlens.frames import FRAMES
from lesionlens.records import SampleArrays, Statistics
from lesionlens.scoring.operating import area
from lesionlens.training.inputs import Inputs

SIZE, CORNER = 64, 6


def cases(count: int = 60, seed: int = 0, larger: int = 0) -> SampleArrays:
    """Lesions and corners that are both brighter in the class M, two samples per patient. larger: lesions of M, by so
    many pixels."""
    generator = np.random.default_rng(seed)
    labels = generator.permutation(np.arange(count) % 2)
    pixels = generator.integers(80, 120, (count, SIZE, SIZE))
    masks = np.zeros(pixels.shape, dtype=np.bool_)
    for sample, label in enumerate(labels):
        side = generator.integers(8, 14) + larger * label
        row, column = generator.integers(20, 36, 2)
        masks[sample, row : row + side, column : column + side] = True
        pixels[sample][masks[sample]] = generator.integers(200, 220, side * side) + 30 * label
        pixels[sample, :CORNER, :CORNER] = generator.integers(20, 60) + 60 * label
    return SampleArrays(
        digest="swap",
        classes=("B", "M"),
        ids=np.arange(count, dtype=np.int64) + 100,
        pixels=pixels.astype(np.uint8),
        masks=masks,
        labels=labels.astype(np.int64),
        splits=np.full(count, "test"),
        patients=np.array([f"P_{i // 2:03d}" for i in range(count)]),
        has_mask=np.ones(count, dtype=np.bool_),
        groups=("mass", "mass"),
        statistics=(Statistics(None, 0.4, 0.15),),
    )


class LesionReader(nn.Module):
    """Says M the surer, the brighter the brightest 5 x 5 pixels away from the corner."""

    def forward(self, pixels: Tensor) -> Tensor:
        bright = avg_pool2d(pixels[:, :1, 12:, 12:], 5, stride=1).amax(dim=(1, 2, 3))
        return torch.stack([torch.zeros_like(bright), bright], dim=1)


class CornerReader(nn.Module):
    """Says M the surer, the brighter the corner; sees nothing else."""

    def forward(self, pixels: Tensor) -> Tensor:
        corner = pixels[:, 0, :CORNER, :CORNER].mean(dim=(1, 2))
        return torch.stack([torch.zeros_like(corner), corner], dim=1)


class FilmReader(nn.Module):
    """Says M by one pixel of noise, which tells nothing."""

    def forward(self, pixels: Tensor) -> Tensor:
        grain = pixels[:, 0, -1, -1]
        return torch.stack([torch.zeros_like(grain), grain], dim=1)


def swapped(model: nn.Module, samples: SampleArrays) -> tuple[Swaps, float, float]:
    """The test, and its AUC by the label of the lesion and of the surroundings."""
    inputs = Inputs(samples, "train", torch.device("cpu"))
    found = swap_test(model, inputs, lesion_regions(samples, 0.1), samples.labels, np.random.default_rng(0))
    malignant = samples.labels == 1
    score = found.probabilities[:, 1]
    return found, area(score, malignant[found.donors]), area(score, malignant[found.surroundings])


def test_a_model_that_reads_the_lesion_follows_the_lesion() -> None:
    _, lesion, surroundings = swapped(LesionReader(), cases())
    assert lesion > 0.95 and surroundings == pytest.approx(0.5, abs=0.06)


def test_the_surroundings_own_lesion_does_not_show_beside_a_smaller_one() -> None:
    _, lesion, surroundings = swapped(LesionReader(), cases(larger=12))
    assert lesion > 0.95 and surroundings == pytest.approx(0.5, abs=0.06)


def test_a_model_that_reads_a_corner_follows_the_surroundings() -> None:
    _, lesion, surroundings = swapped(CornerReader(), cases())
    assert surroundings > 0.95 and lesion == pytest.approx(0.5, abs=1e-9), "every picture has its twin"


def test_a_model_that_reads_noise_follows_neither() -> None:
    areas = [swapped(FilmReader(), cases(seed=seed))[1:] for seed in range(5)]
    assert np.mean(areas, axis=0) == pytest.approx([0.5, 0.5], abs=0.1)


def test_pictures_are_of_two_patients_and_sides_are_balanced() -> None:
    samples = cases(50)
    rare = replace(samples, labels=np.where(np.arange(50) < 12, 1, 0), has_mask=np.arange(50) != 3)
    found, _, _ = swapped(CornerReader(), rare)
    patients, labels = rare.patients, rare.labels
    assert (patients[found.surroundings] != patients[found.donors]).all()
    assert sorted(found.surroundings) == sorted([*np.flatnonzero(rare.has_mask)] * 2) and 3 not in found.donors
    for side in (0, 1):
        given = labels[found.donors[labels[found.surroundings] == side]]
        assert (given == 0).sum() == (given == 1).sum() > 0
    frame = found.frame(rare)
    assert frame.schema == FRAMES["swaps"] and frame["donor_id"].to_list() == (found.donors + 100).tolist()


def test_many_lesions_take_one_donor_each_and_sides_stay_balanced() -> None:
    samples = cases(120)
    rare = replace(samples, labels=np.where(np.arange(120) < 32, 1, 0))
    found, _, _ = swapped(CornerReader(), rare)
    assert found.surroundings.tolist() == list(range(120))
    assert (rare.patients[found.surroundings] != rare.patients[found.donors]).all()
    for side, count in ((0, 88), (1, 32)):
        given = rare.labels[found.donors[rare.labels[found.surroundings] == side]]
        assert (given == 0).sum() == (given == 1).sum() == count / 2
    _, lesion, surroundings = swapped(LesionReader(), samples)
    assert lesion > 0.95 and surroundings == pytest.approx(0.5, abs=0.15)
    _, lesion, surroundings = swapped(CornerReader(), samples)
    assert surroundings > 0.95 and lesion == pytest.approx(0.5, abs=0.15)


def test_a_lesion_without_a_partner_on_either_side_takes_no_part() -> None:
    patients = np.array(["a", "a", "b", "c"])  # the only patient with side 1 is a
    sides, regions = np.array([1, 1, 0, 0]), np.ones((4, 4, 4), dtype=np.bool_)
    places, donors = swap_pairs(patients, sides, regions, np.arange(4), np.random.default_rng(0))
    assert places.tolist() == [2, 2, 3, 3]
    assert donors.tolist()[::2] == [3, 2] and set(donors[1::2]) <= {0, 1}
    none = swap_pairs(patients[:2], sides[:2], regions[:2], np.arange(2), np.random.default_rng(0))
    assert [len(part) for part in none] == [0, 0]


def test_the_donor_of_the_most_similar_size_is_taken() -> None:
    patients, sides = np.array(list("abcdef")), np.array([0, 0, 0, 1, 1, 1])
    regions = np.zeros((6, 1, 20), dtype=np.bool_)
    for region, width in zip(regions, (6, 18, 7, 1, 5, 20), strict=True):
        region[0, :width] = True
    places, donors = swap_pairs(patients, sides, regions, np.arange(6), np.random.default_rng(0))
    assert donors[places == 0].tolist() == [2, 4]


def test_pasting_changes_the_place_alone_and_fades_over_three_pixels() -> None:
    generator = np.random.default_rng(0)
    base, donor = np.full((40, 40), 90, dtype=np.uint8), generator.integers(150, 250, (40, 40)).astype(np.uint8)
    place, region = np.zeros((2, 40, 40), dtype=np.bool_)
    place[4:15, 20:31], region[20:31, 6:17] = True, True
    found = pasted(base, place, donor, region)
    assert (found[~place] == 90).all()
    np.testing.assert_array_equal(found[6:13, 22:29], donor[22:29, 8:15])
    thirds = (donor[20:31, 6:17].astype(float) - 90) / 3
    assert found[4, 20:31] == pytest.approx(90 + thirds[0], abs=0.51)
    assert found[5, 21:30] == pytest.approx(90 + 2 * thirds[1, 1:-1], abs=0.51)


def test_a_region_as_large_as_the_picture_replaces_it() -> None:
    whole, generator = np.ones((12, 12), dtype=np.bool_), np.random.default_rng(0)
    base, donor = generator.integers(0, 256, (2, 12, 12), dtype=np.uint8)
    np.testing.assert_array_equal(pasted(base, whole, donor, whole), donor)
