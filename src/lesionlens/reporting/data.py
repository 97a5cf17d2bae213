"""What a report works on: the record's frames, checked once, and the models they tell of."""

from collections import Counter
from dataclasses import dataclass
from typing import Any

import polars as pl

from lesionlens.records import ReportData
from lesionlens.reporting.formatting import BACKBONES, STRATEGIES, plain

Row = dict[str, Any]

FRAMES = {
    "labels": ("code", "name", "group_name", "ordinal", "is_lesion"),
    "table_1_patches": ("ordinal", "code", "label", "train", "validation", "train_and_validation", "test"),
    "table_2_accuracy": (
        "run_id",
        "evaluation_id",
        "accuracy",
        "low",
        "high",
        "n",
        "best_epoch",
        "epochs",
        "validation_loss",
    ),
    "table_3_auc": ("run_id", "ordinal", "code", "auc", "auc_hard"),
    "table_4_localization": (
        "run_id",
        "method",
        "target",
        "policy",
        "headline",
        "ll",
        "low",
        "high",
        "n",
        "accuracy_low",
    ),
    "baseline_differences": ("run_id", "headline", "baseline", "population", "group_name", "difference", "low", "high"),
    "localization_scores": ("run_id", "headline", "population", "group_name", "ll", "low", "high", "n"),
    "confusion_matrix": ("run_id", "true_ordinal", "predicted_ordinal", "count", "row_fraction", "low", "high"),
    "class_scores": ("run_id", "ordinal", "precision", "precision_low", "recall", "f1", "f1_high", "support"),
    "run_scores": ("run_id", "name", "method", "policy", "population", "group_name", "value", "low", "high", "n"),
    "epochs": ("run_id", "epoch", "phase", "train_loss", "validation_loss", "validation_accuracy", "seconds"),
    "sample_results": ("run_id", "sample_id", "sample_key", "true_code", "predicted_code", "correct", "iou"),
    "gallery": ("sample_id", "pixels", "mask"),
    "maps": ("run_id", "sample_id", "method", "target", "rows", "cols", "grid"),
    "exclusion_reasons": ("reason", "lesions"),
    "split_check": ("unit", "split_a", "split_b", "shared"),
    "official_overlap": ("unit", "shared"),
    "normalisation": ("code", "mean", "std"),
    "exclusions": ("image_key", "lesion_key", "reason", "detail"),
    "runs": ("run_id", "backbone", "strategy", "batch_size", "unit1_rate", "seed", "status", "reason"),
    "contact_sheet": ("code", "name", "patient", "split", "window_x0", "pixels", "mask", "width", "height", "overview"),
    "comparison": ("evaluation_a", "evaluation_b", "score", "difference", "low", "high", "p_holm", "n"),
    "iou_curves": ("run_id", "method", "target", "threshold", "iou", "low", "high"),
    "selected_runs": ("run_id",),
    "roc_curve": ("run_id", "code", "threshold", "false_positive_rate", "true_positive_rate"),
    "reliability_curve": ("run_id", "confidence", "accuracy", "low", "high", "n"),
    "calibration": ("run_id", "calibration_error", "low", "high"),
    "binary_scores": ("run_id", "side", "score", "value", "low", "high", "n"),
    "quadrants": ("run_id", "code", "correct", "located", "n", "lesions", "proportion"),
    "occlusion_test": ("run_id", "population", "group_name", "n", "lesion_drop", "control_drop", "difference"),
    "weight_randomisation": ("run_id", "step", "layer", "ssim", "ssim_chance", "rank_correlation"),
    "shortcut_audit": ("features", "accuracy", "low", "high", "n"),
    "subgroup_scores": (
        "run_id",
        "subgroup",
        "level",
        "name",
        "population",
        "value",
        "low",
        "high",
        "n",
        "whole_patch",
    ),
    "seed_spread": ("backbone", "strategy", "name", "seeds", "mean", "lowest", "highest"),
}


@dataclass(frozen=True, slots=True)
class Model:
    """One run in the reader's terms. `series` is its place in the colour order, from 0: selected runs first.

    `full` names batch size, rate and seed where they differ within the study; `title` only where it must.
    """

    run_id: int
    backbone: str
    strategy: str
    batch_size: int
    unit1_rate: float
    seed: int
    status: str
    series: int
    title: str
    full: str
    short: str
    selected: bool


def frame(data: ReportData, name: str) -> pl.DataFrame:
    """A frame with the columns a report reads. KeyError where the frame or a column is missing."""
    if name not in data.frames:
        raise KeyError(f"report data has no frame {name!r}; it has {', '.join(sorted(data.frames)) or 'none'}")
    found = data.frames[name]
    missing = [column for column in FRAMES[name] if column not in found.columns]
    if missing:
        raise KeyError(f"frame {name!r} lacks {', '.join(missing)}; it has {', '.join(found.columns) or 'no column'}")
    return found


def rows(data: ReportData, frame_name: str, /, **equal: object) -> list[Row]:
    """Rows of a frame where every named column equals the value given."""
    found = frame(data, frame_name)
    for column, value in equal.items():
        found = found.filter(pl.col(column) == value)
    return found.to_dicts()


def models(data: ReportData) -> tuple[Model, ...]:
    """Every run of the study, in the record's order; titles are unique.

    A selected run that is its backbone's and strategy's only one is called by these alone. Else batch size, rate and
    seed are named where they differ within the study.
    """
    runs = frame(data, "runs").unique(subset="run_id", keep="first", maintain_order=True).to_dicts()
    chosen = {row["run_id"] for row in rows(data, "selected_runs")} if "selected_runs" in data.frames else set()
    chosen = chosen or {run["run_id"] for run in runs}
    told_apart = [name for name in ("batch_size", "unit1_rate", "seed") if len({run[name] for run in runs}) > 1]
    cells = Counter((run["backbone"], run["strategy"]) for run in runs if run["run_id"] in chosen)
    order = sorted((run["run_id"] not in chosen, place) for place, run in enumerate(runs))
    series = {place: number for number, (_, place) in enumerate(order)}
    found = []
    for place, run in enumerate(runs):
        selected = run["run_id"] in chosen
        alone = selected and cells[run["backbone"], run["strategy"]] == 1
        told = [] if alone else told_apart
        found.append(
            Model(
                run_id=run["run_id"],
                backbone=run["backbone"],
                strategy=run["strategy"],
                batch_size=run["batch_size"],
                unit1_rate=run["unit1_rate"],
                seed=run["seed"],
                status=run["status"],
                series=series[place],
                title=_title(run, told),
                full=_title(run, told_apart),
                short=_short(run, told),
                selected=selected,
            )
        )
    return tuple(found)


def _title(run: Row, told_apart: list[str]) -> str:
    parts = [plain(run["backbone"], BACKBONES), plain(run["strategy"], STRATEGIES)]
    return ", ".join(parts + _extras(run, told_apart))


def _short(run: Row, told_apart: list[str]) -> str:
    backbone = plain(run["backbone"], BACKBONES).replace(" with batch norm", "")
    strategy = plain(run["strategy"], STRATEGIES).split(" ")[0]
    return ", ".join([backbone, strategy, *_extras(run, told_apart)])


def _extras(run: Row, told_apart: list[str]) -> list[str]:
    words = {
        "batch_size": f"batch {run['batch_size']}",
        "unit1_rate": f"rate {run['unit1_rate']:g}",
        "seed": f"seed {run['seed']}",
    }
    return [words[name] for name in told_apart]


def evaluated(data: ReportData) -> tuple[Model, ...]:
    """The models that have an accuracy in the record."""
    scored = set(frame(data, "table_2_accuracy")["run_id"].to_list())
    return tuple(model for model in models(data) if model.run_id in scored)


def shown(data: ReportData) -> tuple[Model, ...]:
    """The evaluated models that validation loss selected, one per backbone and strategy."""
    return tuple(model for model in evaluated(data) if model.selected)


def by_model(data: ReportData, found: pl.DataFrame) -> list[tuple[Model, pl.DataFrame]]:
    """Each model shown with its rows of a frame that has a run_id; models without a row are left out."""
    rows_of = [(model, found.filter(run_id=model.run_id)) for model in shown(data)]
    return [(model, of_model) for model, of_model in rows_of if of_model.height]


def lookup(config: object, path: str) -> Any:
    """A value of the study configuration by dotted path; None where a step is missing."""
    for step in path.split("."):
        if not isinstance(config, dict):
            return None
        config = config.get(step)
    return config


def confidence(data: ReportData) -> str:
    """The intervals' confidence level, as `95 %`."""
    level = lookup(data.study.get("config"), "evaluation.confidence")
    return f"{(level or 0.95) * 100:g}\u00a0%"
