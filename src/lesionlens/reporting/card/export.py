"""What stands beside an exported model: how an input is made, what its outputs mean, how well it did, on which data."""

from collections.abc import Sequence
from typing import Any

from lesionlens.records import Checkpoint, ReportData, Statistics
from lesionlens.reporting.card.content import NOTICE, licences
from lesionlens.reporting.data import frame, rows
from lesionlens.samples.normalise import IMAGENET_MEAN, IMAGENET_STD, LEAST_STD

FRAMES = ("labels", "normalisation", "runs", "table_2_accuracy", "table_4_localization")
DATA = ("dataset_name", "dataset_kind", "dataset_digest", "sample_set_digest")
WINDOW = {
    "keep": "a square of {context:g} times the longer side of the lesion's box, centred at the median mask pixel, "
    "moved into the image and padded with black where it is larger",
    "stretch": "{context:g} times the sides of the lesion's box, centred at the median mask pixel, clipped to the "
    "image and stretched to a square",
}


def statistics_of(data: ReportData) -> tuple[Statistics, ...]:
    """Mean and standard deviation of the training split's grey values: of all classes (label None), and of each."""
    return tuple(Statistics(row["code"], row["mean"], row["std"]) for row in rows(data, "normalisation"))


def about(data: ReportData, run_id: int, checkpoint: Checkpoint) -> dict[str, Any]:
    """model.json but for its lines of loading, as JSON holds it. data: with the frames FRAMES."""
    study, config = data.study, data.study["config"]
    (run,) = rows(data, "runs", run_id=run_id)
    return {
        "format": "lesionlens model 1",
        "notice": NOTICE,
        "licences": licences(data),
        "study": {"name": study["name"], "digest": study["digest"]},
        "run": {name: run[name] for name in ("run_id", "backbone", "strategy", "batch_size", "seed")}
        | {"first_weights": config["training"]["weights"]},
        "checkpoint": {"epoch": checkpoint.epoch, "sha256": checkpoint.sha256},
        "classes": [{name: row[name] for name in ("ordinal", "code", "name")} for row in rows(data, "labels")],
        "input": _input(config, statistics_of(data)),
        "window": {
            "rule": WINDOW[config["patches"]["aspect"]].format(context=config["patches"]["context"]),
            "context": config["patches"]["context"], "aspect": config["patches"]["aspect"],
            "jitter_in_training": config["patches"]["jitter"],
        },
        "outputs": "logits, in the order of classes; softmax gives probabilities",
        "data": {name: study[name] for name in DATA},
        "scores": _scores(data, run_id),
        "versions": study["versions"],
    }  # fmt: skip


def _input(config: dict[str, Any], statistics: Sequence[Statistics]) -> dict[str, Any]:
    mode, size = config["training"]["normalise"], config["patches"]["size"]
    whole = next((row for row in statistics if row.label is None), None)
    numbers: dict[str, Any] = {"mean": None, "std": None}
    if mode == "imagenet":
        numbers = {"mean": IMAGENET_MEAN, "std": IMAGENET_STD}
    elif mode == "train" and whole is not None:
        numbers = {"mean": whole.mean, "std": max(whole.std, LEAST_STD)}
    elif mode == "per_class":
        known = [row for row in statistics if row.label is not None]
        numbers = {"by_class": {row.label: {"mean": row.mean, "std": max(row.std, LEAST_STD)} for row in known}}
    return {
        "shape": ["n", 3, size, size],
        "dtype": "float32",
        "pixels": "grey from 0 to 255, divided by 255, minus mean, divided by std; the same in all three channels",
        "normalise": mode,
        **numbers,
    }


def _scores(data: ReportData, run_id: int) -> dict[str, Any]:
    """Test accuracy and headline localisation score, each with its interval and number of samples."""
    found: dict[str, Any] = {"confidence": data.study["config"]["evaluation"]["confidence"]}
    for row in rows(data, "table_2_accuracy", run_id=run_id):
        found["accuracy"] = {"value": row["accuracy"], "low": row["low"], "high": row["high"], "n": row["n"]}
    if "table_4_localization" in data.frames and not frame(data, "table_4_localization").is_empty():
        for row in rows(data, "table_4_localization", run_id=run_id, headline=True):
            if row["target"] == "predicted" and "localisation" not in found:
                found["localisation"] = {
                    "value": row["ll"], "low": row["low"], "high": row["high"], "n": row["n"], "method": row["method"],
                    "threshold": row["policy"],
                }  # fmt: skip
    return found
