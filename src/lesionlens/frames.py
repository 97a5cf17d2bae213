"""The frames that an evaluation consists of: the registry of their schemas.

A new score is one entry here and one table in the record. Label columns hold ordinals; `n` counts samples, and a null
value comes with a `reason`.
"""

import polars as pl
from polars import DataType

Schema = dict[str, DataType | type[DataType]]


def _columns(kind: DataType | type[DataType], *names: str) -> Schema:
    return dict.fromkeys(names, kind)


INTERVAL = _columns(pl.Float64, "low", "high")
END: Schema = INTERVAL | {"n": pl.Int64, "reason": pl.String}
CLASS_SCORES = ("precision", "recall", "f1", "auc", "auc_hard")

FRAMES: dict[str, Schema] = {
    "predictions": {"sample_id": pl.Int64, "predicted": pl.Int16, "probabilities": pl.List(pl.Float32)},
    "maps": {"sample_id": pl.Int64}
    | _columns(pl.String, "method", "target", "layer")
    | _columns(pl.Int16, "label", "rows", "cols")
    | {"grid": pl.List(pl.Float32), "blank": pl.Boolean, "iou_curve": pl.List(pl.Float32), "hit": pl.Boolean}
    | _columns(pl.Float64, "energy", "rank_accuracy", "pixel_ap", "top5", "lift")
    | {"reason": pl.String},
    "localizations": {"sample_id": pl.Int64}
    | _columns(pl.String, "method", "target", "policy")
    | _columns(pl.Float64, "threshold", "iou", "dealt_iou", "random_iou")
    | {"reason": pl.String},
    "class_scores": {"label": pl.Int16}
    | _columns(pl.Float64, "precision", "recall", "f1")
    | {"support": pl.Int64}
    | _columns(pl.Float64, "auc", "auc_hard")
    | {"reason": pl.String}
    | _columns(pl.Float64, *(f"{name}_{end}" for name in CLASS_SCORES for end in ("low", "high"))),
    "confusion_intervals": _columns(pl.Int16, "label", "predicted") | INTERVAL,
    "run_scores": _columns(pl.String, "name", "method", "target", "policy", "population", "group_name")
    | {"value": pl.Float64}
    | END,
    "baseline_differences": _columns(pl.String, "method", "target", "policy", "baseline", "population", "group_name")
    | {"difference": pl.Float64}
    | END,
    "subgroup_scores": _columns(pl.String, "subgroup", "level", "name", "method", "population")
    | {"value": pl.Float64}
    | END,
    "iou_curves": _columns(pl.String, "method", "target", "population", "group_name")
    | _columns(pl.Float64, "threshold", "iou")
    | END,
    "quadrants": {"label": pl.Int16}
    | _columns(pl.Boolean, "correct", "located")
    | _columns(pl.Int64, "n", "lesions")
    | {"proportion": pl.Float64}
    | INTERVAL,
    "reliability": {"bin": pl.Int16}
    | _columns(pl.Float64, "lower", "upper", "confidence", "accuracy")
    | INTERVAL
    | {"n": pl.Int64},
    "occlusions": {"sample_id": pl.Int64, "variant": pl.String}
    | _columns(pl.List(pl.Float32), "lesion_probabilities", "control_probabilities")
    | {"places": pl.Int16}
    | _columns(pl.Float64, "lesion_change", "control_change")
    | {"reason": pl.String},
    "swaps": _columns(pl.Int64, "sample_id", "donor_id") | {"probabilities": pl.List(pl.Float32)},
    "validations": _columns(pl.Float64, "loss", "scaled_loss", "temperature", "accuracy") | {"n": pl.Int64},
    "operating_points": _columns(pl.String, "question", "level", "measure")
    | _columns(pl.Float64, "at", "threshold", "value")
    | END,
    "marks": {"sample_id": pl.Int64, "method": pl.String, "rank": pl.Int16}
    | _columns(pl.Float64, "x", "y", "x0", "y0", "x1", "y1", "score")
    | {"label": pl.Int16, "strongest": pl.Boolean, "on_lesion": pl.Boolean},
    "detections": _columns(pl.String, "method", "measure", "criterion", "group_name")
    | _columns(pl.Float64, "at", "value")
    | END,
    "activation_precisions": {"method": pl.String, "label": pl.Int16}
    | _columns(pl.Float64, "value", "share", "difference", "difference_low", "difference_high")
    | END,
    "prototypes": _columns(pl.Int16, "number", "label")
    | {"source_id": pl.Int64}
    | _columns(pl.Int16, "row", "col", "rows", "cols")
    | {"kept": pl.Boolean, "weights": pl.List(pl.Float64)}
    | {"neighbours": pl.List(pl.Int64), "distances": pl.List(pl.Float64)}
    | _columns(pl.Float64, "purity", "coverage", "value", "share")
    | END,
    "prototype_matches": {"sample_id": pl.Int64}
    | _columns(pl.Int16, "number", "row", "col")
    | _columns(pl.Float64, "similarity", "iou", "energy", "top5")
    | {"hit": pl.Boolean, "reason": pl.String},
    "randomisations": {"step": pl.Int16, "layer": pl.String}
    | _columns(pl.Float64, "ssim", "ssim_low", "ssim_high", "rank_correlation", "rank_low", "rank_high")
    | {"n": pl.Int64},
}
"""Columns of each frame of an `Evaluation`, in their order."""
