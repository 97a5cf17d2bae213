"""FROC against a loop over thresholds, and what it says where nothing is to be found."""

import numpy as np
import pytest

from lesionlens.detection.froc import CURVE, FROC, READ, froc, froc_difference, resampled_sensitivities, sensitivities
from lesionlens.detection.marks import CRITERIA, Lesions, Marks, matches
from lesionlens.scoring.bootstrap import draw
from tests.unit.detection.films import SIDE, drawn_lesions, drawn_marks, joined, lesions_of, marks_of, on_every, squares


def by_loop(marks: Marks, lesions: Lesions, times: np.ndarray, at: float, used: np.ndarray, criterion: str) -> float:
    """Sensitivity with every film looked at `times`, by trying every threshold."""
    pairs = matches(marks, lesions, criterion)
    on = {(int(k), int(m)) for k, m in zip(pairs.mark, pairs.lesion, strict=True)}
    best = 0.0
    for threshold in np.unique(marks.scores):
        kept = [k for k in range(len(marks.film)) if marks.scores[k] >= threshold]
        false = sum(times[marks.film[k]] for k in kept if not any(mark == k for mark, _ in on))
        if false > at * times.sum() + 1e-9:
            continue
        found = [m for m in range(len(lesions.film)) if used[m] and any((k, m) in on for k in kept)]
        wanted = sum(times[lesions.film[m]] for m in range(len(lesions.film)) if used[m])
        if not wanted:
            return float("nan")
        best = max(best, sum(times[lesions.film[m]] for m in found) / wanted)
    return best


@pytest.mark.parametrize("criterion", CRITERIA)
@pytest.mark.parametrize("levels", [None, 5, 1])
def test_froc_is_that_of_a_loop(criterion: str, levels: int | None) -> None:
    """With ties, several marks on a lesion, several lesions under a mark, films without lesions."""
    lesions = drawn_lesions(10, 3, seed=5, side=40.0)
    marks = joined(drawn_marks(10, 5, seed=6, levels=levels, side=35.0), on_every(lesions).where(lesions.film % 2 == 0))
    assert len(np.unique(lesions.film)) < 10
    used = lesions.labels == 1
    patients = np.array([f"P{i // 2}" for i in range(10)])
    clusters = draw(patients, 30, np.random.default_rng(0))
    for kept in (np.ones_like(used), used):
        expected = [by_loop(marks, lesions, np.ones(10), at, kept, criterion) for at in READ]
        assert sensitivities(marks, lesions, 10, criterion, READ, kept) == pytest.approx(expected)
    drawn = resampled_sensitivities(marks, lesions, [used], clusters, criterion, np.array(READ))[:, 0]
    for found, times in zip(drawn, clusters.counts[:, clusters.member], strict=True):
        assert found == pytest.approx([by_loop(marks, lesions, times, at, used, criterion) for at in READ], nan_ok=True)


def test_the_curve_has_its_readings_and_intervals_around_them() -> None:
    lesions = drawn_lesions(40, 2, seed=7, side=30.0)
    marks = drawn_marks(40, 6, seed=8)
    clusters = draw(np.array([f"P{i}" for i in range(40)]), 200, np.random.default_rng(0))
    groups = {"all": np.ones(len(lesions.film), bool), "malignant": lesions.labels == 1}
    frame = froc(marks, lesions, groups, clusters, 0.95)
    assert frame.schema == FROC and set(READ) <= set(CURVE)
    for name, used in groups.items():
        rows = frame.filter(group_name=name)
        assert rows["at"].to_list() == list(CURVE) and set(rows["n"]) == {int(used.sum())}
        assert rows["sensitivity"].to_list() == sensitivities(marks, lesions, 40, at=CURVE, used=used).tolist()
        assert (rows["sensitivity"].diff().drop_nulls() >= 0).all()
        assert ((rows["low"] <= rows["sensitivity"]) & (rows["sensitivity"] <= rows["high"])).all()
        assert (rows["low"] < rows["high"]).all()


def test_a_detector_that_marks_every_annotation_finds_all_without_a_false_mark() -> None:
    lesions = drawn_lesions(20, 3, seed=9)
    for criterion in CRITERIA:
        assert sensitivities(on_every(lesions), lesions, 20, criterion, (0.0, 1.0)).tolist() == [1.0, 1.0]


def test_equal_scores_pass_together_or_not_at_all() -> None:
    lesions = lesions_of([(0, (0, 0, 10, 10)), (1, (0, 0, 10, 10))])
    marks = marks_of([
        (0, (4, 4, 6, 6), 0.5), (0, (50, 50, 60, 60), 0.5), (1, (50, 50, 60, 60), 0.5), (1, (4, 4, 6, 6), 0.2),
    ])  # fmt: skip
    assert sensitivities(marks, lesions, 2, at=(0.5, 1.0)).tolist() == [0.0, 1.0]


def test_marks_on_lesions_of_another_group_are_neither_right_nor_false() -> None:
    lesions = lesions_of([(0, (0, 0, 10, 10)), (0, (40, 40, 50, 50))])
    marks = marks_of([(0, (4, 4, 6, 6), 0.9), (0, (44, 44, 46, 46), 0.8)])
    assert sensitivities(marks, lesions, 1, at=(0.0,), used=np.array([False, True])).tolist() == [1.0]


def test_films_without_lesions_or_marks() -> None:
    none = lesions_of([])
    assert np.isnan(sensitivities(marks_of([(0, (0, 0, 1, 1), 0.5)]), none, 2)).all()
    assert sensitivities(marks_of([]), lesions_of([(0, (0, 0, 1, 1))]), 2).tolist() == [0.0] * 5
    clusters = draw(np.array(["a", "b"]), 10, np.random.default_rng(0))
    frame = froc(marks_of([]), none, {"all": np.zeros(0, bool)}, clusters, 0.95)
    assert frame.schema == FROC and frame["reason"].unique().to_list() == ["no_samples"] and len(frame) == len(CURVE)


def test_marks_at_random_places_have_the_sensitivity_of_chance() -> None:
    """k marks at random in a film meet a box of area a with probability 1 - (1 - a)^k."""
    films, each, side = 3000, 6, 25.0
    generator = np.random.default_rng(11)
    lesions = Lesions(
        np.arange(films), squares(generator.uniform(side / 2, SIDE - side / 2, (films, 2)), side), np.zeros(films, int)
    )
    marks = drawn_marks(films, each, seed=12)
    area = (side / SIDE) ** 2
    found = sensitivities(marks, lesions, films, at=(1.0, 1e9))
    assert found[1] == pytest.approx(1 - (1 - area) ** each, abs=0.025)
    assert found[0] == pytest.approx(1 - (1 - area) ** (1 / (1 - area)), abs=0.02)


def test_equal_detectors_differ_by_an_interval_that_holds_zero() -> None:
    """95 % intervals of the difference between two detectors of the same quality: nearly all hold 0."""
    held = 0
    for seed in range(40):
        lesions = drawn_lesions(60, 2, seed=1000 + seed, side=30.0)
        generator = np.random.default_rng(2000 + seed)
        systems = []
        for own in range(2):
            seen = on_every(lesions).where(generator.uniform(size=len(lesions.film)) < 0.5)
            seen = Marks(seen.film, seen.boxes, generator.uniform(0.3, 1, len(seen.film)), seen.labels)
            systems.append(joined(seen, drawn_marks(60, 3, seed=3000 + 2 * seed + own)))
        clusters = draw(np.array([f"P{i // 2}" for i in range(60)]), 200, generator)
        found = froc_difference(systems[0], systems[1], lesions, clusters, 0.95)
        assert found.value == pytest.approx(found.first - found.second)
        held += found.low <= 0 <= found.high
        same = froc_difference(systems[0], systems[0], lesions, clusters, 0.95)
        assert (same.value, same.low, same.high) == (0.0, 0.0, 0.0)
    assert held >= 35


def test_a_better_detector_differs_by_an_interval_above_zero() -> None:
    lesions = drawn_lesions(80, 2, seed=13)
    noise = drawn_marks(80, 4, seed=14)
    clusters = draw(np.array([f"P{i}" for i in range(80)]), 200, np.random.default_rng(0))
    assert froc_difference(joined(on_every(lesions), noise), noise, lesions, clusters, 0.95).low > 0
