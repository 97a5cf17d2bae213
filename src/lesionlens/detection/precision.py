"""Average precision of marks, by torchmetrics."""

import torch
from torchmetrics.detection import MeanAveragePrecision

from lesionlens.detection.marks import Lesions, Marks

OVERLAPS = (0.2, 0.5)
MOST = 100
"""Marks of a film that count, the surest first, as in COCO."""


def average_precisions(marks: Marks, lesions: Lesions, films: int, by_class: bool = False) -> dict[float, float]:
    """AP at an IoU of 0.2 and of 0.5, by COCO's rule (101 recalls); NaN where there are no lesions.

    by_class: a mark counts for lesions of its own class alone, and AP is the mean over classes; else every mark is of a
    lesion, whichever.
    """
    if not len(lesions.film):
        return dict.fromkeys(OVERLAPS, float("nan"))
    found, wanted = [], []
    for film in range(films):
        at, real = marks.film == film, lesions.film == film
        labels, classes = torch.from_numpy(marks.labels[at]), torch.from_numpy(lesions.labels[real])
        boxes = torch.from_numpy(marks.boxes[at]).float()
        scores = torch.from_numpy(marks.scores[at]).float()
        found.append({"boxes": boxes, "scores": scores, "labels": labels if by_class else torch.zeros_like(labels)})
        truth = torch.from_numpy(lesions.boxes[real]).float()
        wanted.append({"boxes": truth, "labels": classes if by_class else torch.zeros_like(classes)})
    return {at: _average_precision(found, wanted, at) for at in OVERLAPS}


def _average_precision(found: list[dict[str, torch.Tensor]], wanted: list[dict[str, torch.Tensor]], at: float) -> float:
    metric = MeanAveragePrecision(
        iou_thresholds=[at], max_detection_thresholds=[1, 10, MOST], backend="faster_coco_eval"
    )
    metric.update(found, wanted)
    return float(metric.compute()["map"])
