"""Films with marks: what a model marks where one mark per film is false, over the lesions that are there."""

from typing import Any

import numpy as np

from lesionlens.detection.froc import limit
from lesionlens.detection.marks import Lesions, Marks, lesions_of, marks_of, matches
from lesionlens.records import ReportData
from lesionlens.reporting.data import frame, headline_method

FALSE_MARKS = 1.0
"""False marks per film that the marks shown leave: the operating point of the headline."""
OUTCOMES = ("missed", "false", "found", "clear")
"""Of a film: a lesion is missed; a mark lies on none; every lesion is found; nothing there and nothing marked."""


def film_marks(data: ReportData) -> dict[tuple[int, int], dict[str, Any]]:
    """What each run marks on each test film, by run and sample; without runs of which no marks are judged.

    `marks` [x0, y0, x1, y1, score, lies on a lesion] and `lesions` [x0, y0, x1, y1, found], in pixels of the mask;
    `outcome`, one of OUTCOMES; `rank`: its place from 0 where films with the most lesions missed come first, then those
    with the surest false mark. Shown are the marks surer than the score that leaves FALSE_MARKS per film.
    """
    every, films = frame(data, "marks"), frame(data, "gallery")["sample_id"].to_numpy()
    judged = frame(data, "detections").filter(method=headline_method(data))["run_id"]
    lesions = lesions_of(frame(data, "film_lesions"), films)
    scale = int(frame(data, "gallery")["scale"][0]) if len(films) else 1
    found = {}
    for run_id in sorted({*judged, *every["run_id"]}):
        marks = marks_of(every.filter(run_id=run_id), films)
        marks = marks.where(marks.scores > limit(marks, lesions, len(films), FALSE_MARKS))
        for sample_id, shown in zip(films.tolist(), _of_films(marks, lesions, len(films), scale), strict=True):
            found[run_id, sample_id] = shown
    return found


def _of_films(marks: Marks, lesions: Lesions, films: int, scale: int) -> list[dict[str, Any]]:
    pairs = matches(marks, lesions)
    false, met = pairs.false(marks), np.isfinite(pairs.found(marks, len(lesions.film)))
    shown: list[dict[str, Any]] = []
    keys = []
    for film in range(films):
        at, real = np.flatnonzero(marks.film == film), np.flatnonzero(lesions.film == film)
        missed, wrong = int((~met[real]).sum()), marks.scores[at][false[at]]
        outcome = "missed" if missed else "false" if len(wrong) else "found" if len(real) else "clear"
        keys.append((OUTCOMES.index(outcome), -missed, -float(wrong.max(initial=0.0)), film))
        shown.append(
            {
                "marks": [
                    [*np.round(marks.boxes[i] / scale, 1).tolist(), round(float(marks.scores[i]), 3), not false[i]]
                    for i in at
                ],
                "lesions": [[*np.round(lesions.boxes[i] / scale, 1).tolist(), bool(met[i])] for i in real],
                "outcome": outcome,
            }
        )
    for rank, (*_, film) in enumerate(sorted(keys)):
        shown[film]["rank"] = rank
    return shown
