"""A small filled record: two classes of lesions and background, two runs, one evaluation each."""

from collections.abc import Iterator
from dataclasses import dataclass
from types import SimpleNamespace

import numpy as np
import polars as pl
import pytest
from sqlalchemy import Connection, Engine

from db import read, write
from lesionlens.config import DataConfig, EvaluationConfig, GridConfig, HyperSet, StudyConfig, TrainingConfig
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
from tests.e2e.cluster import Postgres, programs

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
BASELINES = ("whole_patch", "centred_disc", "mean_mask")


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
    patches = []
    for n in range(patients):
        is_lesion = n % 3 > 0
        mask = np.zeros((SIZE, SIZE), dtype=np.bool_)
        mask[4:10, 5:12] = True
        pixels = random.integers(0, 256, (SIZE, SIZE), dtype=np.uint8)
        patches.append(
            Sample(
                f"patch {n}", LABELS[n % 3].code, f"image {n}", f"lesion {n}" if is_lesion else None, f"P_{n:05d}",
                SPLITS[n // 3 % 3] if n < 9 else "test", Box(10, 20, 110, 120),
                Box(30, 40, 60, 70) if is_lesion else None, 0.0625 if is_lesion else None, pixels,
                mask if is_lesion else None,
            )
        )  # fmt: skip
    return patches


def save_patches(connection: Connection, patients: int = 12) -> int:
    dataset_id = write.save_dataset(connection, make_index(patients), "/data")
    exclusions = [Exclusion("image 0", "lesion lost", "no_mask", "file is missing")]
    checks = [LeakCheck("patient", "train", "test", 0), LeakCheck("image", "train", "test", 1, ("image 3",))]
    statistics = [Statistics(None, 0.4, 0.2), Statistics("MM", 0.5, 0.25)]
    sizes = [ImageSize(f"image {n}", 300, 500) for n in range(patients)]
    return write.save_sample_set(
        connection, dataset_id, digest("patches", patients), {"seed": 0}, SIZE, make_patches(patients), exclusions,
        checks, statistics, [*sizes, Overview("image 0", np.zeros((32, 20), dtype=np.uint8))],
    )  # fmt: skip


def save_study(connection: Connection, sample_set_id: int) -> tuple[int, tuple[int, ...]]:
    study_id = write.save_study(
        connection, digest(CONFIG, sample_set_id), "tiny", CONFIG.model_dump(mode="json"), IDENTITY, sample_set_id,
        {"torch": "2"},
    )  # fmt: skip
    runs = tuple(
        write.save_run(connection, study_id, digest(run, "r"), sample_set_id, run, CONFIG.training)
        for run in CONFIG.grid.runs()
    )
    return study_id, runs


def make_epoch(epoch: int, loss: float = 1.0) -> EpochResult:
    checkpoints = tuple(Checkpoint(role, 1, epoch, f"{role}.safetensors", "ab" * 32, 10) for role in ("best", "last"))
    return EpochResult(1, epoch, loss, loss + 0.1, 0.5, 2.0, {"head": 1e-3}, True, checkpoints)


def _maps(ids: list[int], lesion: list[bool], method: str, target: str, iou: float) -> tuple[list[dict], list[dict]]:
    constant = method in BASELINES
    explanations, localizations = [], []
    for n, (sample_id, scored) in enumerate(zip(ids, lesion, strict=True)):
        base = {"sample_id": sample_id, "method": method, "target": target}
        reason = None if scored else "background"
        shape = None if constant else 2
        grid = None if constant else [0.1 * n, -1.0, 0.5, 2.0]
        explanations.append(base | {
            "layer": "none" if constant else "block", "label": None if constant else 1, "rows": shape, "cols": shape,
            "grid": grid, "blank": False, "iou_curve": [iou] * 19 if scored else None,
            "hit": True if scored else None, **dict.fromkeys(("energy", "rank_accuracy", "pixel_ap"), iou if scored
            else None), "reason": reason,
        })  # fmt: skip
        for policy in ("mask",) if constant else POLICIES:
            localizations.append(
                base | {"policy": policy, "threshold": None if policy == "area" else 0.5,
                        "iou": iou - 0.01 * n if scored else None, "reason": reason}
            )  # fmt: skip
    return explanations, localizations


def make_evaluation(ids: list[int], labels: list[int], wrong: int = 0, iou: float = 0.5) -> Evaluation:
    """Patches by id and label ordinal; the first `wrong` are misclassified."""
    predicted = [(label + (n < wrong)) % 3 for n, label in enumerate(labels)]
    lesion = [label > 0 for label in labels]
    probabilities = [[0.8 if k == p else 0.1 for k in range(3)] for p in predicted]
    kinds = [("grad_cam", "predicted", iou), ("grad_cam", "true", iou), ("random_weights", "predicted", 0.1)]
    found = [_maps(ids, lesion, *kind) for kind in kinds + [(name, "none", 0.2) for name in BASELINES]]
    accuracy = 1 - wrong / len(ids)
    key = {"method": None, "target": None, "policy": None, "population": "all", "group_name": "all", "reason": None}
    key |= {"low": 0.1, "high": 0.9, "n": len(ids)}
    names = ("accuracy", "auc", "auc_hard", "calibration_error", "lesion_auc")
    scores = [key | {"name": name, "value": accuracy} for name in names]
    scores += [key | {"name": f"erase_{name}", "value": value, "population": "lesions", "low": -0.2} for name, value in
               (("lesion_drop", 0.5), ("control_drop", -0.1), ("difference", 0.6))]  # fmt: skip
    for method, target, value in kinds:
        scores += [key | {"name": "ll", "method": method, "target": target, "policy": policy, "value": value,
                          "population": "correct_lesions"} for policy in POLICIES]  # fmt: skip
    scores += [key | {"name": "ll", "method": name, "target": "none", "policy": "mask", "value": 0.2,
                      "population": "correct_lesions"} for name in BASELINES]  # fmt: skip
    class_scores = [
        {"label": k, "precision": 1.0, "recall": 0.5, "f1": 0.6, "support": labels.count(k), "auc": 0.9,
         "auc_hard": 0.7, "reason": None} for k in range(3)
    ]  # fmt: skip
    confusions = [{"label": true, "predicted": taken, "low": 0.25, "high": 0.75} for true in range(3)
                  for taken in range(3)]  # fmt: skip
    number = {"sample_id": pl.Int64}
    return Evaluation(
        pl.DataFrame({"sample_id": ids, "predicted": predicted, "probabilities": probabilities},
                     schema_overrides={"predicted": pl.Int16, "probabilities": pl.List(pl.Float32)}),
        pl.DataFrame([row for e, _ in found for row in e], infer_schema_length=None,
                     schema_overrides=number | {"grid": pl.List(pl.Float32), "iou_curve": pl.List(pl.Float32)}),
        pl.DataFrame([row for _, located in found for row in located], infer_schema_length=None),
        pl.DataFrame(class_scores, schema_overrides={"label": pl.Int16, "reason": pl.String}),
        pl.DataFrame(confusions),
        pl.DataFrame(scores, infer_schema_length=None, schema_overrides={"reason": pl.String}),
        **_audits(ids, lesion, iou),
    )  # fmt: skip


def _audits(ids: list[int], lesion: list[bool], iou: float) -> dict[str, pl.DataFrame]:
    """The frames beyond scores: one subgroup, one bin, one layer."""
    between = {"low": 0.1, "high": 0.9, "n": len(ids), "reason": None}
    key = {"subgroup": "view", "level": "CC"}
    subgroups = [key | {"name": "accuracy", "method": None, "population": "all", "value": 0.5} | between]
    subgroups += [key | {"name": "ll", "method": method, "population": "lesions", "value": iou} | between
               for method in ("grad_cam", "random_weights", *BASELINES)]  # fmt: skip
    curve = {"method": "grad_cam", "target": "predicted", "population": "correct_lesions", "group_name": "all"}
    curves = [curve | {"threshold": 0.05 * k, "iou": iou} | between for k in range(1, 20)]
    quadrants = [
        {"label": label, "correct": correct, "located": located, "n": 1, "lesions": 4, "share": 0.25} | between
        for label in (None, 1, 2) for correct in (True, False) for located in (True, False)
    ]  # fmt: skip
    step = {"ssim": 0.9, "ssim_low": 0.8, "ssim_high": 1.0, "rank_correlation": -0.2, "rank_low": -0.5,
            "rank_high": 0.1, "n": 4}  # fmt: skip
    bins = [{"bin": k, "lower": k / 2, "upper": (k + 1) / 2, "confidence": [None, 0.8][k], "accuracy": [None, 0.5][k],
             "low": [None, 0.1][k], "high": [None, 0.9][k], "n": [0, 6][k]} for k in range(2)]  # fmt: skip
    erased = [{"sample_id": number, "probability": 0.8, "lesion_erased": 0.3, "control_erased": 0.7, "reason": None}
              for number, there in zip(ids, lesion, strict=True) if there]  # fmt: skip
    text = {"reason": pl.String}
    differences = [
        {"method": "grad_cam", "target": "predicted", "policy": policy, "baseline": baseline, "population": population,
         "group_name": "all", "difference": iou - 0.2, "low": iou - 0.3, "high": iou, "n": 4}
        for policy in POLICIES for baseline in (*BASELINES, "random_weights")
        for population in ("lesions", "correct_lesions")
    ]  # fmt: skip
    return {
        "baseline_differences": pl.DataFrame(differences),
        "subgroup_scores": pl.DataFrame(subgroups, infer_schema_length=None, schema_overrides=text),
        "iou_curves": pl.DataFrame(curves, schema_overrides=text),
        "quadrants": pl.DataFrame(quadrants, infer_schema_length=None).drop("reason").with_columns(n=pl.lit(1)),
        "reliability": pl.DataFrame(bins, infer_schema_length=None),
        "occlusions": pl.DataFrame(erased, schema_overrides=text),
        "randomisations": pl.DataFrame([step | {"step": k, "layer": f"layer {k}"} for k in (-1, 0, 1)]),
    }


def evaluate_run(connection: Connection, run_id: int, wrong: int = 0, iou: float = 0.5) -> int:
    run = read.run_row(connection, run_id)
    test = read.load_samples(connection, run.sample_set_id).split("test")
    result = make_evaluation(test.ids.tolist(), test.labels.tolist(), wrong, iou)
    return write.save_evaluation(connection, run_id, IDENTITY, EvaluationConfig(), 1.5, result)


def fill(connection: Connection, patients: int = 12) -> Filled:
    sample_set_id = save_patches(connection, patients)
    study_id, runs = save_study(connection, sample_set_id)
    evaluations = []
    for n, run_id in enumerate(runs):
        write.start_run(connection, run_id, "cpu")
        for epoch in (1, 2):
            write.save_epoch(connection, run_id, make_epoch(epoch, 1 / epoch + n))
        write.finish_run(connection, run_id)
        evaluations.append(evaluate_run(connection, run_id, wrong=n + 1, iou=0.5 - 0.1 * n))
    first, second = evaluations
    comparison = {"evaluation_a": first, "evaluation_b": second, "score": "accuracy", "value_a": 0.8, "value_b": 0.7,
                  "difference": 0.1, "low": 0.0, "high": 0.2, "p": 0.5, "p_holm": 0.5, "n": 6}  # fmt: skip
    write.save_comparisons(connection, study_id, pl.DataFrame([comparison]))
    common = {
        "name": "ll",
        "method": "grad_cam",
        "target": "predicted",
        "policy": "validation",
        "value": 0.4,
        "population": "common_lesions",
        "group_name": "all",
        "low": 0.3,
        "high": 0.5,
        "n": 4,
        "reason": None,
    }
    scores = pl.DataFrame([{"evaluation_id": e} | common for e in evaluations], schema_overrides={"reason": pl.String})
    write.save_study_scores(connection, study_id, scores)
    shortcuts = [{"features": name, "accuracy": 0.4, "low": 0.3, "high": 0.5, "n": 6} for name in ("majority", "size")]
    write.save_shortcuts(connection, sample_set_id, IDENTITY, pl.DataFrame(shortcuts))
    return Filled(study_id, sample_set_id, runs, tuple(evaluations))


@pytest.fixture
def filled(engine: Engine) -> Filled:
    """A filled record on `engine`."""
    with engine.begin() as connection:
        return fill(connection)


@pytest.fixture(scope="session")
def full() -> Iterator[Postgres]:
    """A full PostgreSQL that asks for a password over TCP, its user a superuser; its database `record` is empty."""
    if programs() is None:
        pytest.skip("needs a full PostgreSQL: apt-get install postgresql")
    server = Postgres()
    yield server
    server.stop()


@pytest.fixture(scope="session")
def tiny() -> SimpleNamespace:
    """The makers above."""
    return SimpleNamespace(
        fill=fill,
        make_patches=make_patches,
        make_epoch=make_epoch,
        make_evaluation=make_evaluation,
        save_patches=save_patches,
        save_study=save_study,
        evaluate_run=evaluate_run,
        IDENTITY=IDENTITY,
    )
