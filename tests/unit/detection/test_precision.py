"""Average precision of hand-made cases."""

import numpy as np
import pytest
import torch
from torchmetrics.detection import MeanAveragePrecision

from lesionlens.detection.marks import Marks
from lesionlens.detection.precision import average_precisions
from tests.unit.detection.films import drawn_lesions, drawn_marks, joined, lesions_of, marks_of, on_every


def test_every_annotation_marked_gives_one() -> None:
    lesions = drawn_lesions(10, 2, seed=1)
    assert average_precisions(on_every(lesions), lesions, 10) == {0.2: 1.0, 0.5: 1.0}
    assert average_precisions(on_every(lesions), lesions, 10, by_class=True) == {0.2: 1.0, 0.5: 1.0}


def test_half_found_behind_a_false_mark_by_hand() -> None:
    """Marks by score: false, right. Precision 1/2 up to a recall of 1/2: 51 of COCO's 101 recalls."""
    lesions = lesions_of([(0, (0, 0, 10, 10)), (1, (0, 0, 10, 10))])
    marks = marks_of([(0, (50, 50, 60, 60), 0.9), (0, (0, 0, 10, 10), 0.5)])
    assert average_precisions(marks, lesions, 2)[0.5] == pytest.approx(0.5 * 51 / 101, abs=1e-6)


def test_an_overlap_of_a_third_counts_at_a_fifth_alone() -> None:
    lesions, marks = lesions_of([(0, (0, 0, 10, 10))]), marks_of([(0, (5, 0, 15, 10), 0.9)])
    assert average_precisions(marks, lesions, 1) == {0.2: 1.0, 0.5: 0.0}


def test_a_mark_of_the_wrong_class_counts_for_the_place_alone() -> None:
    lesions, marks = lesions_of([(0, (0, 0, 10, 10))]), marks_of([(0, (0, 0, 10, 10), 0.9)], label=1)
    assert average_precisions(marks, lesions, 1)[0.5] == 1.0
    assert average_precisions(marks, lesions, 1, by_class=True)[0.5] == 0.0


def test_average_precision_is_that_of_torchmetrics_with_its_own_list_of_overlaps() -> None:
    lesions = drawn_lesions(12, 3, seed=2, side=30.0)
    near = on_every(lesions)
    moved = Marks(near.film, near.boxes + np.random.default_rng(3).normal(0, 6, (len(near.film), 1)), near.scores,
                  near.labels)  # fmt: skip
    marks = joined(moved, drawn_marks(12, 3, seed=4))
    found = average_precisions(marks, lesions, 12)
    metric = MeanAveragePrecision(iou_thresholds=[0.2, 0.5], backend="faster_coco_eval")
    for film in range(12):
        at, real = marks.film == film, lesions.film == film
        metric.update(
            [{"boxes": torch.tensor(marks.boxes[at]), "scores": torch.tensor(marks.scores[at]),
              "labels": torch.zeros(int(at.sum()), dtype=torch.int64)}],
            [{"boxes": torch.tensor(lesions.boxes[real]), "labels": torch.zeros(int(real.sum()), dtype=torch.int64)}],
        )  # fmt: skip
    computed = metric.compute()
    assert found[0.5] == pytest.approx(float(computed["map_50"]), abs=1e-6)
    assert (found[0.2] + found[0.5]) / 2 == pytest.approx(float(computed["map"]), abs=1e-6)
    assert 0 < found[0.5] < found[0.2] < 1


def test_without_lesions_there_is_no_precision() -> None:
    assert np.isnan(list(average_precisions(marks_of([(0, (0, 0, 1, 1), 0.5)]), lesions_of([]), 1).values())).all()
    assert average_precisions(marks_of([]), lesions_of([(0, (0, 0, 1, 1))]), 1) == {0.2: 0.0, 0.5: 0.0}
