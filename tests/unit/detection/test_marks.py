"""Marks: peaks of maps, and the lesions that marks lie on."""

import numpy as np
import pytest

from lesionlens.detection.marks import CRITERIA, NO_LABEL, Lesions, Marks, matches, overlap, peaks
from tests.unit.detection.films import drawn_lesions, drawn_marks, joined, lesions_of, marks_of, on_every


def blobs(*places: tuple[int, int, float]) -> np.ndarray:
    """A map of 40 x 60 with a peak of that height at each (row, column)."""
    rows, columns = np.mgrid[:40, :60]
    return np.max([v * np.exp(-((rows - y) ** 2 + (columns - x) ** 2) / 18) for y, x, v in places], axis=0)


def test_peaks_are_the_maxima_of_a_map_surest_first() -> None:
    maps = np.stack([blobs((10, 15, 0.5), (30, 45, 0.9)), np.zeros((40, 60))]).astype(np.float32)
    found = peaks(maps, 8.0, np.array([0.5, 1.0]), scale=2.0)
    assert found.film.tolist() == [0, 0]
    assert found.centres.tolist() == [[91.0, 61.0], [31.0, 21.0]]
    assert found.scores == pytest.approx([0.45, 0.25])
    assert (found.boxes[:, 2:] - found.boxes[:, :2] == 8).all() and (found.labels == NO_LABEL).all()


def test_peaks_nearer_than_half_a_lesion_are_one_and_ten_are_most() -> None:
    near = blobs((20, 20, 1.0), (20, 26, 0.9)).astype(np.float32)
    assert len(peaks(near[None], 4.0).film) == 2
    assert len(peaks(near[None], 16.0).film) == 1
    noise = np.random.default_rng(0).uniform(0.1, 1, (3, 40, 60)).astype(np.float32)
    assert np.bincount(peaks(noise, 4.0).film).tolist() == [10, 10, 10]


def test_no_peak_is_taken_of_flat_or_negative_maps() -> None:
    maps = np.stack([np.full((20, 20), 0.5), -blobs((10, 10, 1.0))[:20, :20]]).astype(np.float32)
    assert len(peaks(maps, 6.0).film) == 0
    with pytest.raises(ValueError, match="side above 0"):
        peaks(maps, float("nan"))


@pytest.mark.parametrize("criterion", CRITERIA)
def test_matches_are_those_of_a_loop_over_all_pairs(criterion: str) -> None:
    lesions = drawn_lesions(12, 4, seed=1, side=35.0)
    marks = joined(drawn_marks(12, 6, seed=2, side=25.0), on_every(lesions))
    found = matches(marks, lesions, criterion)
    expected = []
    for k in range(len(marks.film)):
        for m in range(len(lesions.film)):
            x, y = marks.centres[k]
            x0, y0, x1, y1 = lesions.boxes[m]
            inside = x0 <= x <= x1 and y0 <= y <= y1
            shared = overlap(marks.boxes[[k]], lesions.boxes[[m]])[0]
            met = inside if criterion == "centre" else shared >= float(criterion[4:])
            if marks.film[k] == lesions.film[m] and met:
                expected.append((k, m))
    assert sorted(zip(found.mark.tolist(), found.lesion.tolist(), strict=True)) == expected
    assert len(expected) > len(lesions.film)


def test_the_surest_of_several_marks_counts_and_one_mark_finds_two_lesions() -> None:
    lesions = lesions_of([(0, (0, 0, 10, 10)), (0, (5, 0, 15, 10)), (1, (0, 0, 10, 10))])
    marks = marks_of(
        [(0, (6, 4, 8, 6), 0.3), (0, (1, 1, 3, 3), 0.8), (0, (40, 40, 50, 50), 0.9), (2, (1, 1, 3, 3), 0.7)]
    )
    pairs = matches(marks, lesions)
    assert pairs.found(marks, 3).tolist() == [0.8, 0.3, -np.inf]
    assert pairs.false(marks).tolist() == [False, False, True, True]


def test_empty_boxes_overlap_nothing() -> None:
    assert overlap(np.zeros((1, 4)), np.zeros((1, 4))).tolist() == [0.0]


def test_one_place_marked_for_two_classes_counts_once() -> None:
    boxes = np.array([[0, 0, 10, 10], [1, 0, 11, 10], [30, 30, 40, 40], [0, 0, 10, 10]], dtype=np.float64)
    marks = Marks(np.array([0, 0, 0, 1]), boxes, np.array([0.4, 0.6, 0.1, 0.4]), np.array([0, 1, 0, 0]))
    assert marks.strongest().tolist() == [False, True, True, True]


def test_films_are_chosen_in_the_order_asked_for() -> None:
    lesions = drawn_lesions(6, 3, seed=3)
    chosen = lesions.of_films(np.array([5, 2]))
    for new, old in enumerate((5, 2)):
        assert np.array_equal(chosen.boxes[chosen.film == new], lesions.boxes[lesions.film == old])
    marks = drawn_marks(6, 2, seed=4).of_films(np.array([4]))
    assert marks.film.tolist() == [0, 0]
    assert len(lesions.of_films(np.zeros(0, dtype=np.int64)).film) == 0


def test_a_typical_lesion_is_the_median_square() -> None:
    lesions = lesions_of([(0, (0, 0, 4, 9)), (0, (0, 0, 10, 10)), (1, (0, 0, 30, 30))])
    assert lesions.side() == 10.0
    assert np.isnan(Lesions(lesions.film[:0], lesions.boxes[:0], lesions.labels[:0]).side())


def test_a_score_that_is_no_number_is_refused() -> None:
    with pytest.raises(ValueError, match="finite"):
        marks_of([(0, (0, 0, 1, 1), float("nan"))])
