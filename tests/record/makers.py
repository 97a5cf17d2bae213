"""A small filled record: two classes of lesions and background, two runs, one evaluation of each."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import polars as pl
from sqlalchemy import Connection

from db import datasets, evaluations, reports, studies
from db.queries import arrays
from lesionlens.config.data import DataConfig
from lesionlens.config.evaluation import EvaluationConfig
from lesionlens.config.study import StudyConfig
from lesionlens.config.training import GridConfig, HyperSet, TrainingConfig
from lesionlens.frames import FRAMES
from lesionlens.identity import digest
from lesionlens.records import (
    SPLITS,
    Box,
    Checkpoint,
    DatasetIndex,
    EpochResult,
    Evaluation,
    Exclusion,
    Image,
    ImageSize,
    Label,
    LeakCheck,
    Lesion,
    Overview,
    Sample,
    Statistics,
)
from lesionlens.reporting.verdict import JUDGED, answers

SIZE = 16
LABELS = (
    Label("B", "background", "background", 0, False),
    Label("BM", "benign mass", "mass", 1, True),
    Label("MM", "malignant mass", "mass", 2, True),
)
CONFIG = StudyConfig(
    name="tiny",
    data=DataConfig(source="phantom"),
    training=TrainingConfig(weights="none"),
    grid=GridConfig(backbones=("resnet18",), sets=(HyperSet(),)),
)
IDENTITY = digest(CONFIG.evaluation, CONFIG.seed)
POLICIES = ("fixed", "otsu", "validation", "area")
MASKS = ("whole_patch", "centred_disc", "mean_mask")
CEILING = "ceiling"
BASELINES = (*MASKS, "random_weights", "dealt_maps")


@dataclass(frozen=True)
class Filled:
    """Ids of a filled record."""

    study: int
    sample_set: int
    runs: tuple[int, ...]
    evaluations: tuple[int, ...]


def make_index(patients: int = 12) -> DatasetIndex:
    images = tuple(
        Image(f"image {n}", f"P_{n:05d}", f"jpeg/{n}/1.jpg", "LEFT", "CC", 2, "test" if n % 3 == 2 else "train")
        for n in range(patients)
    )
    lesions = tuple(
        Lesion(f"lesion {n}", f"image {n}", "mass", "BENIGN", LABELS[n % 3].code, f"jpeg/{n}/2.jpg", "train", 1, 3, 4)
        for n in range(patients)
        if n % 3
    )
    lost = Lesion("lesion lost", "image 0", "mass", "BENIGN_WITHOUT_CALLBACK", None, None)
    return DatasetIndex("tiny", "phantom", digest("tiny", patients), LABELS, images, (*lesions, lost))


def make_patches(patients: int = 12) -> list[Sample]:
    random = np.random.default_rng(0)
    mask = np.zeros((SIZE, SIZE), dtype=np.bool_)
    mask[4:10, 5:12] = True
    patches = []
    for n in range(patients):
        pixels = random.integers(0, 256, (SIZE, SIZE), dtype=np.uint8)
        lesion = (f"lesion {n}", Box(30, 40, 60, 70), 0.0625, mask) if n % 3 else (None, None, None, None)
        key, box, fraction, marked = lesion
        split = SPLITS[n // 3 % 3] if n < 9 else "test"
        window = Box(10, 20, 110, 120)
        patches.append(
            Sample(f"sample {n}", LABELS[n % 3].code, f"image {n}", key, f"P_{n:05d}", split, window, box, fraction,
                  pixels, marked)
        )  # fmt: skip
    return patches


def save_samples(
    connection: Connection,
    index: DatasetIndex,
    digest: str,
    size: int,
    items: Sequence[Sample | Exclusion | ImageSize | Overview],
    checks: Sequence[LeakCheck] = (),
    statistics: Sequence[Statistics] = (),
) -> int:
    """A whole sample set at once; returns its id, the same for the same digest."""
    found = datasets.find_sample_set(connection, digest)
    if found is not None:
        return found
    dataset_id = datasets.save_dataset(connection, index, "/data")
    sample_set_id = datasets.open_sample_set(connection, dataset_id, digest, {"seed": 0}, (size, size, 1))
    writer = datasets.SampleWriter(connection, dataset_id, sample_set_id)
    writer.add(connection, items)
    writer.close(connection, checks, statistics)
    return sample_set_id


def save_patches(connection: Connection, patients: int = 12) -> int:
    sizes = [ImageSize(f"image {n}", 300, 500) for n in range(patients)]
    others = [
        Exclusion("image 0", "lesion lost", "no_mask", "file is missing"),
        Overview("image 0", np.zeros((32, 20), dtype=np.uint8)),
    ]
    checks = [LeakCheck("patient", "train", "test", 0), LeakCheck("image", "train", "test", 1, ("image 3",))]
    statistics = [Statistics(None, 0.4, 0.2), Statistics("MM", 0.5, 0.25)]
    return save_samples(
        connection, make_index(patients), digest("samples", patients), SIZE, [*make_patches(patients), *others, *sizes],
        checks, statistics,
    )  # fmt: skip


def save_study(connection: Connection, sample_set_id: int) -> tuple[int, tuple[int, ...]]:
    study_id = studies.save_study(
        connection, digest(CONFIG, sample_set_id), "tiny", CONFIG.model_dump(mode="json"), IDENTITY, sample_set_id,
        {"torch": "2"},
    )  # fmt: skip
    runs = tuple(
        studies.save_run(connection, study_id, digest(run, "r"), sample_set_id, run, CONFIG.training, run.strategy)
        for run in CONFIG.grid.runs()
    )
    return study_id, runs


def make_epoch(epoch: int, loss: float = 1.0) -> EpochResult:
    checkpoints = tuple(Checkpoint(role, 1, epoch, f"{role}.safetensors", "ab" * 32, 10) for role in ("best", "last"))
    return EpochResult(1, epoch, loss, loss + 0.1, 0.5, 2.0, {"head": 1e-3}, True, checkpoints)


def frame_of(name: str, rows: list[dict[str, Any]]) -> pl.DataFrame:
    """A frame of an evaluation; columns that a row lacks are null."""
    schema = FRAMES[name]
    return pl.DataFrame([dict.fromkeys(schema) | row for row in rows], schema=schema, orient="row")


def _maps(ids: list[int], lesion: list[bool], method: str, target: str, iou: float) -> tuple[list[dict], list[dict]]:
    constant = method in (*MASKS, CEILING)
    maps, localizations = [], []
    for n, (sample_id, scored) in enumerate(zip(ids, lesion, strict=True)):
        base = {"sample_id": sample_id, "method": method, "target": target}
        base |= {"reason": None if scored else "background"}
        scores = {
            "hit": True,
            "energy": iou,
            "rank_accuracy": iou,
            "pixel_ap": iou,
            "top5": iou,
            "iou_curve": [iou] * 19,
        }
        grid = {"layer": "none"} if constant else {
            "layer": "block", "label": 1, "rows": 2, "cols": 2, "grid": [0.1 * n, -1.0, 0.5, 2.0]
        }  # fmt: skip
        maps.append(base | {"blank": False} | grid | (scores if scored else {}))
        for policy in ("mask",) if constant else POLICIES:
            threshold = None if policy == "area" else 0.5
            localizations.append(
                base | {"policy": policy, "threshold": threshold, "iou": iou - 0.01 * n if scored else None}
            )
    return maps, localizations


def _run_scores(count: int, accuracy: float, kinds: list[tuple[str, str, float]]) -> list[dict[str, Any]]:
    between = {"low": 0.1, "high": 0.9, "n": count, "group_name": "all"}
    names = ("accuracy", "auc", "auc_hard", "calibration_error", "lesion_auc")
    scores = [{"name": name, "value": accuracy, "population": "all"} for name in names]
    drops = (("lesion_drop", 0.5), ("control_drop", -0.1), ("difference", 0.6))
    scores += [{"name": f"occlusion_{name}", "value": value, "population": "lesions"} for name, value in drops]
    for method, target, value in kinds:
        key = {"method": method, "target": target, "population": "correct_lesions"}
        scores += [key | {"name": "ll", "policy": policy, "value": value} for policy in POLICIES]
        if method == "grad_cam":
            scores += [key | {"name": "acc_x_ll", "policy": policy, "value": accuracy * value} for policy in POLICIES]
    mask = {"name": "ll", "target": "none", "policy": "mask", "value": 0.2, "population": "correct_lesions"}
    scores += [mask | {"method": name} for name in (*MASKS, CEILING)]
    return [between | score | ({"low": -0.2} if score["name"].startswith("occlusion") else {}) for score in scores]


def _audits(ids: list[int], lesion: list[bool], iou: float) -> dict[str, list[dict[str, Any]]]:
    """Rows of the frames beyond scores: one subgroup, one bin, one block."""
    between = {"low": 0.1, "high": 0.9, "n": len(ids)}
    level = {"subgroup": "view", "level": "CC"} | between
    curve = {"method": "grad_cam", "target": "predicted", "population": "correct_lesions", "group_name": "all"}
    step = {"ssim": 0.9, "ssim_low": 0.8, "ssim_high": 1.0, "rank_correlation": -0.2, "rank_low": -0.5,
            "rank_high": 0.1, "n": 4}  # fmt: skip
    full = {"confidence": 0.8, "accuracy": 0.5, "low": 0.1, "high": 0.9, "n": 6}
    key = {"method": "grad_cam", "target": "predicted", "group_name": "all"}
    gap = {"difference": iou - 0.2, "low": iou - 0.3, "high": iou, "n": 4}
    return {
        "subgroup_scores": [level | {"name": "accuracy", "population": "all", "value": 0.5}]
        + [level | {"name": "ll", "method": method, "population": "lesions", "value": iou}
           for method in ("grad_cam", *BASELINES)],
        "iou_curves": [curve | between | {"threshold": 0.05 * k, "iou": iou} for k in range(1, 20)],
        "quadrants": [
            between | {"label": label, "correct": correct, "located": located, "n": 1, "lesions": 4, "proportion": 0.25}
            for label in (None, 1, 2) for correct in (True, False) for located in (True, False)
        ],
        "reliability": [{"bin": 0, "lower": 0.0, "upper": 0.5, "n": 0}, full | {"bin": 1, "lower": 0.5, "upper": 1.0}],
        "occlusions": [
            {"sample_id": number, "variant": variant, "lesion_probabilities": [0.3] * 3, "places": 4,
             "control_probabilities": [0.7] * 3, "lesion_change": 0.1, "control_change": 0.1}
            for number, there in zip(ids, lesion, strict=True) if there for variant in ("smooth", "texture", "wide")
        ],
        "swaps": [
            {"sample_id": a, "donor_id": b, "probabilities": [0.2, 0.5, 0.3]}
            for a, there in zip(ids, lesion, strict=True) if there
            for b, too in zip(ids, lesion, strict=True) if too and a != b
        ],
        "validations": [{"loss": 0.7, "scaled_loss": 0.6, "temperature": 2.0, "accuracy": 0.5, "n": 6}],
        "operating_points": [
            between | {"question": "detection", "level": level, "measure": "sensitivity", "at": at, "threshold": 0.5,
                       "value": 0.6} for level in ("lesion", "breast", "patient") for at in (0.8, 0.9)
        ],
        "marks": [
            {"sample_id": number, "method": "boxes", "rank": rank, "x": 5.0, "y": 6.0, "x0": 3.0, "y0": 4.0, "x1": 7.0,
             "y1": 8.0, "score": 1 / rank, "label": 1, "strongest": rank == 1, "on_lesion": there}
            for number, there in zip(ids, lesion, strict=True) for rank in (1, 2)
        ],
        "detections": [
            between | {"method": "boxes", "measure": "sensitivity", "criterion": "centre", "group_name": "all",
                       "at": at, "value": 0.6} for at in (0.25, 1.0)
        ],
        "activation_precisions": [
            {"method": method, "label": label, "value": iou, "low": 0.1, "high": 0.9, "share": 0.2, "n": 4,
             "difference": iou - 0.2, "difference_low": -0.1, "difference_high": 0.6}
            for method in ("grad_cam", "each_prototype") for label in (None, 1, 2)
        ],
        "prototypes": [
            {"number": label, "label": label, "source_id": ids[label % len(ids)], "row": 1, "col": 0,
             "rows": 2, "cols": 2, "kept": label == 1,
             "weights": [-1.0, 2.0, -1.0], "neighbours": [ids[0] - 6 + label], "distances": [0.0], "purity": 0.9,
             "coverage": 1.0, "value": iou, "low": 0.1, "high": 0.9, "share": 0.2, "n": 2} for label in (1, 2)
        ],
        "prototype_matches": [
            {"sample_id": number, "number": 1, "row": 0, "col": 1, "similarity": 2.5}
            | ({"iou": iou, "energy": iou, "top5": iou, "hit": True} if there else {"reason": "background"})
            for number, there in zip(ids, lesion, strict=True)
        ],
        "randomisations": [step | {"step": k, "layer": f"layer {k}"} for k in (-1, 0, 1)],
        "baseline_differences": [
            key | gap | {"policy": policy, "baseline": baseline, "population": population}
            for policy in POLICIES for baseline in BASELINES for population in ("lesions", "correct_lesions")
        ],
    }  # fmt: skip


def make_evaluation(ids: list[int], labels: list[int], wrong: int = 0, iou: float = 0.5) -> Evaluation:
    """Of samples by id and label ordinal; the first `wrong` are misclassified as the next class."""
    predicted = [(label + (n < wrong)) % 3 for n, label in enumerate(labels)]
    lesion = [label > 0 for label in labels]
    kinds = [
        ("grad_cam", "predicted", iou),
        ("grad_cam", "true", iou),
        ("random_weights", "predicted", 0.1),
        ("dealt_maps", "predicted", 0.15),
    ]
    found = [_maps(ids, lesion, *kind) for kind in kinds + [(name, "none", 0.2) for name in (*MASKS, CEILING)]]
    classes = [
        {"label": k, "precision": 1.0, "recall": 0.5, "f1": 0.6, "support": labels.count(k), "auc": 0.9,
         "auc_hard": 0.7} for k in range(3)
    ]  # fmt: skip
    rows = {
        "predictions": [
            {"sample_id": number, "predicted": p, "probabilities": [0.8 if k == p else 0.1 for k in range(3)]}
            for number, p in zip(ids, predicted, strict=True)
        ],
        "maps": [row for maps, _ in found for row in maps],
        "localizations": [row for _, located in found for row in located],
        "class_scores": classes,
        "confusion_intervals": [
            {"label": true, "predicted": taken, "low": 0.25, "high": 0.75} for true in range(3) for taken in range(3)
        ],
        "run_scores": _run_scores(len(ids), 1 - wrong / len(ids), kinds),
        **_audits(ids, lesion, iou),
    }
    return Evaluation({name: frame_of(name, found) for name, found in rows.items()})


def evaluate_run(connection: Connection, run_id: int, wrong: int = 0, iou: float = 0.5) -> int:
    run = studies.run_row(connection, run_id)
    test = arrays.load_samples(connection, run.sample_set_id).split("test")
    result = make_evaluation(test.ids.tolist(), test.labels.tolist(), wrong, iou)
    return evaluations.save_evaluation(connection, run_id, IDENTITY, EvaluationConfig(), 1.5, result)


def fill(connection: Connection, patients: int = 12) -> Filled:
    sample_set_id = save_patches(connection, patients)
    study_id, runs = save_study(connection, sample_set_id)
    numbers = []
    for n, run_id in enumerate(runs):
        studies.start_run(connection, run_id, "cpu")
        for epoch in (1, 2):
            studies.save_epoch(connection, run_id, make_epoch(epoch, 1 / epoch + n))
        studies.finish_run(connection, run_id)
        numbers.append(evaluate_run(connection, run_id, wrong=n + 1, iou=0.5 - 0.1 * n))
    first, second = numbers
    comparison = {"evaluation_a": first, "evaluation_b": second, "score": "accuracy", "value_a": 0.8, "value_b": 0.7,
                  "difference": 0.1, "low": 0.0, "high": 0.2, "p": 0.5, "p_holm": 0.5, "n": 6}  # fmt: skip
    evaluations.save_comparisons(connection, study_id, pl.DataFrame([comparison]))
    common = {"name": "ll", "method": "grad_cam", "target": "predicted", "policy": "validation", "value": 0.4,
              "population": "common_lesions", "group_name": "all", "low": 0.3, "high": 0.5, "n": 4}  # fmt: skip
    evaluations.save_study_scores(connection, study_id, pl.DataFrame([{"evaluation_id": e} | common for e in numbers]))
    shortcuts = [{"features": name, "question": "class", "accuracy": 0.4, "low": 0.3, "high": 0.5, "n": 6}
                 for name in ("majority", "size")]  # fmt: skip
    evaluations.save_shortcuts(connection, sample_set_id, IDENTITY, pl.DataFrame(shortcuts))
    cell = {"backbone": "resnet18", "strategy": "gradual", "batch_size": 16, "head_rate": 1e-4, "unit1_rate": 3e-5,
            "guidance": "none",
            "seeds": 1, "question": "localization", "variant": "grad_cam", "measure": "ll",
            "group_name": None, "value": 0.4, "low": 0.3, "high": 0.5, "lesions": 4, "patients": 4}  # fmt: skip
    evaluations.save_decisions(connection, study_id, pl.DataFrame([cell]))
    reports.save_answers(connection, study_id, answers(reports.report_data(connection, study_id, JUDGED)))
    return Filled(study_id, sample_set_id, runs, tuple(numbers))
