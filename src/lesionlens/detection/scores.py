"""Everything that marks films, judged: the frames `marks` and `detections` of an evaluation."""

from collections.abc import Mapping, Sequence

import numpy as np
import polars as pl
from numpy.typing import NDArray

from lesionlens.attribution.scaling import activation_maps, upsampled
from lesionlens.config.evaluation import EvaluationConfig
from lesionlens.detection.froc import CURVE, READ, froc, froc_difference
from lesionlens.detection.marks import CRITERIA, NO_LABEL, Lesions, Marks, lesions_of, matches, peaks
from lesionlens.detection.precision import average_precisions
from lesionlens.frames import FRAMES
from lesionlens.localization.baselines import blobs
from lesionlens.localization.samples import ScoredMaps
from lesionlens.records import SampleArrays
from lesionlens.scoring.bootstrap import Clusters, draw, interval, resampled_auc
from lesionlens.scoring.operating import area

BLOB, SWEEP = "bright_blob", "sweep"
HEADLINE = 1.0
"""False marks per film at which two systems are compared."""


def groups_of(shown: pl.DataFrame, ids: NDArray[np.int64], classes: tuple[str, ...]) -> dict[str, NDArray[np.bool_]]:
    """Groups of the lesions of `lesions_of`, bool [m] by name: all, each class, each type (column lesion_type)."""
    rows = shown.filter(pl.col("sample_id").is_in(ids.tolist()))
    found = {"all": np.ones(len(rows), dtype=np.bool_)}
    found |= {code: (rows["ordinal"] == i).to_numpy() for i, code in enumerate(classes)}
    kinds = rows["lesion_type"].fill_null("").to_numpy()
    found |= {str(kind): kinds == kind for kind in sorted(set(kinds) - {""})}
    return {name: used for name, used in found.items() if used.any()}


def mark_frames(
    samples: SampleArrays,
    shown: pl.DataFrame | None,
    marks: Marks | None,
    maps: Sequence[ScoredMaps],
    probabilities: NDArray[np.float32],
    evaluation: EvaluationConfig,
    seed: int,
) -> dict[str, pl.DataFrame]:
    """The frames `marks` and `detections` of the test split; empty where no film shows a lesion.

    A detector's `marks`, else the peaks of every method's maps of the predicted class, weighted by the probability of
    the last class (probabilities float32 [n, classes]); beside them those of the sweep, where there is one, with its
    probabilities, and the bright blob's. maps: the headline's first. A
    method that explains some films alone has no marks: lesions on the others would count as missed.
    """
    if shown is None or not shown.height or samples.breasts is None:
        return {name: pl.DataFrame(schema=FRAMES[name]) for name in ("marks", "detections")}
    test = samples.split("test")
    side = lesions_of(shown, samples.split("train").ids).side()
    methods = {maps[0].method: marks} if marks is not None else {}
    for own in () if marks is not None else maps:
        if own.grids is None or own.target != "predicted" or own.is_reference or own.explained is not None:
            continue
        shaped, _ = activation_maps(own.grids, test.masks.shape[1:], evaluation.scaling)
        methods[own.method] = peaks(shaped, side, probabilities[:, -1].astype(np.float64), samples.scale)
    for own in maps:
        if own.method == SWEEP and own.grids is not None:
            methods[SWEEP] = peaks(upsampled(own.grids, test.masks.shape[1:]), side, scale=samples.scale)
    methods[BLOB] = peaks(blobs(test, side / 2 / samples.scale), side, scale=samples.scale)
    lesions, groups = lesions_of(shown, test.ids), groups_of(shown, test.ids, samples.classes)
    clusters = draw(test.patients, evaluation.resamples, np.random.default_rng(seed))
    return {
        "marks": mark_frame(methods, test, lesions),
        "detections": detection_scores(methods, lesions, groups, clusters, evaluation),
    }


def mark_frame(methods: Mapping[str, Marks], test: SampleArrays, lesions: Lesions) -> pl.DataFrame:
    """Every mark of every method, surest first within its film: the frame `marks`."""
    frames = [pl.DataFrame(schema=FRAMES["marks"])]
    for method, marks in methods.items():
        order = np.lexsort((-marks.scores, marks.film))
        chosen = Marks(marks.film[order], marks.boxes[order], marks.scores[order], marks.labels[order])
        first = np.searchsorted(chosen.film, chosen.film, side="left")
        columns = {
            "sample_id": test.ids[chosen.film],
            "method": [method] * len(order),
            "rank": np.arange(len(order)) - first + 1,
            "x": chosen.centres[:, 0], "y": chosen.centres[:, 1],
            **{name: chosen.boxes[:, i] for i, name in enumerate(("x0", "y0", "x1", "y1"))},
            "score": chosen.scores,
            "label": [None if label == NO_LABEL else int(label) for label in chosen.labels],
            "strongest": chosen.strongest(),
            "on_lesion": ~matches(chosen, lesions).false(chosen),
        }  # fmt: skip
        frames.append(pl.DataFrame(columns, schema=FRAMES["marks"]))
    return pl.concat(frames)


def detection_scores(
    methods: Mapping[str, Marks],
    lesions: Lesions,
    groups: Mapping[str, NDArray[np.bool_]],
    clusters: Clusters,
    evaluation: EvaluationConfig,
) -> pl.DataFrame:
    """The frame `detections`: measures of every method's strongest marks.

    sensitivity: the FROC curve by criterion and group of lesions, at 1/16 to 8 false marks per film for the headline
    criterion, else at 0.25 to 4; difference: from the bright blob's at 1; average_precision; class_auc: malignant
    against benign among the lesions found, by the proportion of the malignant mark in the strongest marks of both
    labels. `clusters` are of the films. AP has no interval.
    """
    frames = [pl.DataFrame(schema=FRAMES["detections"])]
    for method, every in methods.items():
        marks, key = every.where(every.strongest()), {"method": method}
        for criterion in CRITERIA:
            at = CURVE if criterion == "centre" else READ
            curve = froc(marks, lesions, groups, clusters, evaluation.confidence, criterion, at)
            frames.append(_frame(curve.rename({"sensitivity": "value"}), method, "sensitivity"))
        rows = [
            {"criterion": f"iou_{iou:g}", "value": value, "measure": "average_precision"}
            for iou, value in average_precisions(marks, lesions, len(clusters.member)).items()
        ]
        if method != BLOB and BLOB in methods:
            found = froc_difference(marks, methods[BLOB], lesions, clusters, evaluation.confidence, at=HEADLINE)
            ends = {"value": found.value, "low": found.low, "high": found.high}
            rows.append({"criterion": "centre", "at": HEADLINE, "measure": "difference"} | ends)
        rows += _class_auc(every, lesions, clusters, evaluation.confidence)
        frames.append(_rows([key | {"group_name": "all", "n": len(lesions.film)} | row for row in rows]))
    return pl.concat(frames)


def _frame(curve: pl.DataFrame, method: str, measure: str) -> pl.DataFrame:
    named = curve.with_columns(method=pl.lit(method), measure=pl.lit(measure))
    return named.select(pl.col(name).cast(kind) for name, kind in FRAMES["detections"].items())


def _rows(rows: list[dict[str, object]]) -> pl.DataFrame:
    """Rows with NaN as null, and why: no lesion, or one patient alone."""
    frame = pl.DataFrame(rows, schema=FRAMES["detections"]).with_columns(pl.col(pl.Float64).fill_nan(None))
    missing = pl.when(pl.col("value").is_null()).then(pl.lit("no_samples"))
    return frame.with_columns(reason=missing)


def _class_auc(marks: Marks, lesions: Lesions, clusters: Clusters, confidence: float) -> list[dict[str, object]]:
    """One row for a method whose marks have two labels; the second is the positive one."""
    if set(np.unique(marks.labels)) != {0, 1}:
        return []
    best = np.stack([
        matches(own, lesions).found(own, len(lesions.film)) for own in (marks.where(marks.labels == i) for i in (0, 1))
    ])  # fmt: skip
    found = np.isfinite(best).any(axis=0)
    scores = np.where(np.isfinite(best), best, 0.0)[:, found]
    share, truth = scores[1] / scores.sum(axis=0), lesions.labels[found] == 1
    member = clusters.member[lesions.film[found]]
    resampled = resampled_auc(share.astype(np.float32), truth, Clusters(member, clusters.counts))[:, None]
    row: dict[str, object] = {"criterion": "centre", "measure": "class_auc", "n": int(found.sum())}
    value = area(share, truth)
    if np.isnan(value):
        return [row | {"value": value}]
    sides = min(len(np.unique(member[truth])), len(np.unique(member[~truth])))
    low, high = interval(resampled, confidence, sides)
    return [row | {"value": value, "low": float(low[0]), "high": float(high[0])}]
