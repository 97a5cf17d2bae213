"""What a detector says of films: how likely each is malignant, marks, and boxes painted as a map."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from lesionlens.attribution.explain import Explained
from lesionlens.detection.fit import detect
from lesionlens.detection.marks import Marks
from lesionlens.detection.network import SCORE, Detector
from lesionlens.training.inputs import Inputs

COARSE = 2
"""Pixels of a mask per cell of a painted map, along each side."""


def detector_outputs(
    model: Detector, inputs: Inputs, rows: Sequence[int], malignant: int | None
) -> tuple[Explained, Marks]:
    """Predictions, maps and marks of the films at positions `rows`; a mark's `film` is the position in `rows`.

    A film is malignant with the score of its strongest mark of the label `malignant` (of any, where None); without one
    with the score below which nothing is marked. The map 'boxes' has in every cell the highest score of a box on it.
    """
    marks = detect(model.to(inputs.device).eval(), inputs, rows)
    highest = np.full(len(rows), SCORE)
    counted = marks if malignant is None else marks.where(marks.labels == malignant)
    np.maximum.at(highest, counted.film, counted.scores)
    second = highest.clip(max=1 - SCORE).astype(np.float32)
    probabilities = np.stack([1 - second, second], axis=1)
    height, width = (side // COARSE for side in inputs.patches.masks.shape[1:])
    maps = painted(marks, len(rows), (height, width), inputs.patches.scale * COARSE)
    return Explained(
        probabilities,
        probabilities.argmax(axis=1).astype(np.int64),
        {("boxes", "predicted"): maps, ("boxes", "true"): maps},
    ), marks


def painted(marks: Marks, films: int, shape: tuple[int, int], scale: float) -> NDArray[np.float32]:
    """Maps float32 [films, *shape]: in a cell of `scale` pixels the highest score of a box that holds its centre."""
    maps = np.zeros((films, *shape), dtype=np.float32)
    corners = np.ceil(marks.boxes / scale - 0.5).astype(np.int64).clip(min=0)
    for film, (x0, y0, x1, y1), score in zip(marks.film, corners, marks.scores, strict=True):
        cells = maps[film, y0:y1, x0:x1]
        np.maximum(cells, np.float32(score), out=cells)
    return maps
