"""Maps dealt to other patients' lesions: no advantage where all maps are alike, one where each knows its lesion."""

from dataclasses import replace

import numpy as np
import pytest

from lesionlens.frames import FRAMES
from lesionlens.localization.dealt import OTHERS, Dealt, dealt_frames, dealt_maps, others
from lesionlens.localization.metrics import score_grids
from lesionlens.localization.samples import Cut, ScoredMaps, scorable
from lesionlens.records import SampleArrays
from tests.unit.arrays import bright_squares

CUT = 0.5


@pytest.fixture(scope="module")
def samples() -> SampleArrays:
    return bright_squares(100, size=32)


def scored(samples: SampleArrays, grids: np.ndarray, method: str = "grad_cam") -> ScoredMaps:
    scores = score_grids(grids, samples.masks, "relu_max", CUT)
    count = len(grids)
    cuts = {
        "fixed": Cut(np.full(count, CUT), scores.fixed_iou),
        "otsu": Cut(scores.otsu_threshold, scores.otsu_iou),
        "validation": Cut(np.full(count, np.nan), np.full(count, np.nan)),
    }
    return ScoredMaps(method, "predicted", "block", samples.labels, grids, scores, cuts)


def gaps(samples: SampleArrays, grids: np.ndarray, correct: np.ndarray | None = None) -> dict[str, np.ndarray]:
    """IoU of the own map minus the mean of dealt ones, of every lesion, by policy."""
    maps = scored(samples, grids)
    correct = np.ones(len(grids), dtype=np.bool_) if correct is None else correct
    [found] = dealt_maps(samples, correct, [maps], "relu_max", np.random.default_rng(0))
    return {name: (maps.cuts[name].iou - found.iou[name])[scorable(samples)] for name in ("fixed", "otsu")}


@pytest.mark.parametrize("seed", range(5))
def test_maps_that_are_alike_for_all_have_no_advantage_at_all(samples: SampleArrays, seed: int) -> None:
    """Not even one of rounding: an interval above 0 by 1e-17 would count as evidence."""
    one = np.random.default_rng(seed).random((1, 7, 7)).astype(np.float32)
    for gap in gaps(samples, np.repeat(one, len(samples.ids), axis=0)).values():
        assert len(gap) == 80 and (gap == 0).all()


def test_maps_that_know_their_lesion_beat_dealt_ones(samples: SampleArrays) -> None:
    for gap in gaps(samples, samples.masks.astype(np.float32)).values():
        assert (gap > 0).all() and gap.mean() > 0.4


def test_maps_of_noise_have_no_advantage_on_average(samples: SampleArrays) -> None:
    many = bright_squares(400, size=32)
    noise = np.random.default_rng(1).random((400, 7, 7)).astype(np.float32)
    for gap in gaps(many, noise).values():
        assert abs(gap.mean()) < 4 * gap.std() / len(gap) ** 0.5 < 0.1


def test_a_lesion_gets_the_mean_iou_with_maps_of_its_group_correctness_and_others(samples: SampleArrays) -> None:
    """Against a loop; 100 samples have fewer than 40 of a kind."""
    grids = np.random.default_rng(2).random((100, 5, 5)).astype(np.float32)
    correct = np.arange(100) % 7 < 4
    [found] = dealt_maps(samples, correct, [scored(samples, grids)], "relu_max", np.random.default_rng(0))
    groups = np.array(samples.groups)[samples.labels]
    for row in np.flatnonzero(scorable(samples))[:12]:
        kind = (samples.patients != samples.patients[row]) & (groups == groups[row]) & (correct == correct[row])
        kind &= scorable(samples)
        assert 0 < kind.sum() < OTHERS
        mask = np.repeat(samples.masks[row][None], kind.sum(), axis=0)
        expected = score_grids(grids[kind], mask, "relu_max", CUT).fixed_iou.mean()
        assert found.iou["fixed"][row] == pytest.approx(expected, abs=1e-12)


def test_others_are_forty_at_most_of_other_patients_in_the_stratum() -> None:
    patients, strata = np.repeat(np.arange(60).astype(np.str_), 2), np.arange(120) % 2
    strata[:2] = 7  # one patient alone
    drawn = others(patients, strata, np.random.default_rng(0))
    assert [len(rows) for rows in drawn] == [0, 0] + [OTHERS] * 118
    for row, chosen in enumerate(drawn):
        assert len(set(chosen)) == len(chosen)
        assert (patients[chosen] != patients[row]).all() and (strata[chosen] == strata[row]).all()


def test_baselines_are_not_dealt_and_missing_scores_say_why(samples: SampleArrays) -> None:
    lone = replace(samples, patients=np.where(samples.labels == 1, "P_one", samples.patients))
    lone = replace(lone, groups=("background", "rare", "mass", "calcification", "mass"))  # label 1: one patient's
    grids = np.ones((100, 2, 2), dtype=np.float32)
    maps = [scored(lone, grids), scored(lone, grids, "random_weights"), scored(lone, grids, "ceiling")]
    found = dealt_maps(lone, np.ones(100, dtype=np.bool_), maps, "relu_max", np.random.default_rng(0))
    assert [one.method for one in found] == ["grad_cam"] and isinstance(found[0], Dealt)
    frame, located = dealt_frames(lone, found[0])
    assert frame.schema == FRAMES["maps"] and located.schema == FRAMES["localizations"]
    assert set(frame["reason"]) == {"mean_of_maps"} and set(located["method"]) == {"dealt_maps"}
    fixed = located.filter(policy="fixed")
    for label, reason in {0: "background", 1: "no_other_patient", 2: None}.items():
        rows = fixed["reason"].to_numpy()[lone.labels == label]
        assert set(rows) == {reason}
    assert (fixed["iou"].is_null() == fixed["reason"].is_not_null()).all()
    untuned = located.filter(policy="validation")["reason"].to_numpy()
    assert set(untuned[lone.labels > 0]) == {"no_validation_lesions"}
