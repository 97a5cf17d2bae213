"""A synthetic record: what a report reads, seeded and small, shaped as the real one."""

import io
import math
import os
from collections.abc import Callable
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from PIL import Image
from playwright.sync_api import sync_playwright
from scipy.ndimage import gaussian_filter, zoom

from lesionlens.presets import demo
from lesionlens.records import ReportData
from lesionlens.samples.normalise import pack_mask, pack_pixels

from .evidence import EVIDENCE, add_evidence, add_shortcuts

CHROMIUM = Path(os.environ.get("LESIONLENS_CHROMIUM", "/usr/bin/chromium"))
FLAGS = ["--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage"]
Factory = Callable[..., ReportData]

LABELS = (
    ("B", "background", "background", False),
    ("BC", "benign calcification", "calcification", True),
    ("BM", "benign mass", "mass", True),
    ("MC", "malignant calcification", "calcification", True),
    ("MM", "malignant mass", "mass", True),
)
BASELINES = ("whole_patch", "centred_disc", "mean_mask", "random_weights")
RUNS = (("vgg11_bn", "gradual"), ("vgg11_bn", "simultaneous"), ("resnet18", "gradual"), ("resnet18", "simultaneous"))
THRESHOLDS = [round(0.05 * step, 2) for step in range(1, 20)]
SIZE, GRID = 96, 6


def _disc(x: float, y: float, radius: float, size: int = SIZE) -> np.ndarray:
    rows, columns = np.mgrid[:size, :size]
    return np.hypot(columns - x, rows - y) <= radius


class Record:
    """Draws patches, maps and every score of the runs from one seed."""

    def __init__(
        self, labels: tuple, runs: tuple, per_class: int, seed: int, skill: dict[int, float], size: int = SIZE
    ) -> None:
        self.labels, self.runs, self.size = labels, runs, size
        self.random = np.random.default_rng(seed)
        self.skill = skill or {index + 1: 0.62 + 0.08 * (index % 3) for index in range(len(runs))}
        self.patches = [self._patch(100 + n, n % len(labels)) for n in range(per_class * len(labels))]
        self.samples: list[dict[str, Any]] = []
        self.maps: list[dict[str, Any]] = []
        for run_id, (backbone, strategy) in enumerate(runs, start=1):
            for patch in self.patches:
                self._sample(run_id, backbone, strategy, patch)

    def _patch(self, sample_id: int, ordinal: int) -> dict[str, Any]:
        code, _, group, is_lesion = self.labels[ordinal]
        texture = gaussian_filter(self.random.normal(size=(self.size, self.size)), 5) * 160 + 90
        texture += gaussian_filter(self.random.normal(size=(self.size, self.size)), 1) * 14
        x, y = self.random.uniform(30 * self.size / SIZE, self.size - 30 * self.size / SIZE, 2)
        radius = self.random.uniform(10, 20) * self.size / SIZE
        mask = _disc(x, y, radius, self.size)
        if is_lesion:
            texture += gaussian_filter(mask.astype(float), 3) * 70
        return {
            "sample_id": sample_id, "ordinal": ordinal, "code": code, "group": group,
            "mask": mask if is_lesion else None,
            "x": x, "y": y, "pixels": np.clip(texture, 0, 255).astype(np.uint8), "patient": f"P_{sample_id:05d}",
        }  # fmt: skip

    def _sample(self, run_id: int, backbone: str, strategy: str, patch: dict[str, Any]) -> None:
        correct = bool(self.random.random() < self.skill[run_id])
        others = [label[0] for label in self.labels if label[0] != patch["code"]]
        predicted = patch["code"] if correct else str(self.random.choice(others))
        confidence = float(self.random.uniform(0.35, 0.99))
        spot = _disc(*(np.array([patch["x"], patch["y"]]) / self.size * GRID - 0.5), 0.4, GRID)
        grid = gaussian_filter(spot.astype(float) + self.random.normal(scale=0.02, size=(GRID, GRID)), 0.7)
        heat = zoom(np.maximum(grid, 0), self.size / GRID, order=1)
        mask, iou = patch["mask"], None
        if mask is not None:
            region = heat >= 0.45 * heat.max()
            iou = float((region & mask).sum() / (region | mask).sum())
        whole = None if mask is None else float(mask.mean())
        self.samples.append({
            "run_id": run_id, "evaluation_id": run_id + 50, "backbone": backbone, "strategy": strategy, "seed": 0,
            "sample_id": patch["sample_id"], "sample_key": f"case_{patch['sample_id']}:{patch['code']}",
            "image_key": f"case_{patch['sample_id']}", "patient": patch["patient"], "laterality": "LEFT", "view": "CC",
            "lesion_key": None if mask is None else f"lesion_{patch['sample_id']}", "breast_density": 2, "subtlety": 4,
            "group_name": patch["group"], "true_code": patch["code"], "predicted_code": predicted, "correct": correct,
            "confidence": confidence, "probability_true": confidence if correct else (1 - confidence) / 2,
            "mask_fraction": whole, "method": "grad_cam", "policy": "validation", "threshold": 0.45, "iou": iou,
            "blank": False, "hit": None if mask is None else bool(iou > 0.2), "energy": whole, "rank_accuracy": iou,
            "pixel_ap": iou, "whole_patch_iou": whole, "centred_disc_iou": None if mask is None else whole * 1.8,
            "mean_mask_iou": None if mask is None else whole * 1.6,
            "random_weights_iou": None if mask is None else whole * 0.9,
            "reason": "background" if mask is None else None,
        })  # fmt: skip
        self.maps.append({
            "run_id": run_id, "evaluation_id": run_id + 50, "sample_id": patch["sample_id"], "method": "grad_cam",
            "target": "predicted", "rows": GRID, "cols": GRID, "grid": grid.ravel().astype(np.float32).tolist(),
        })  # fmt: skip

    def of(self, run_id: int, group: str = "all", correct: bool = True) -> list[dict[str, Any]]:
        """Lesion samples of a run, one group or all, correctly classified or all."""
        return [
            row for row in self.samples
            if row["run_id"] == run_id and row["iou"] is not None
            and (group == "all" or row["group_name"] == group) and (row["correct"] or not correct)
        ]  # fmt: skip

    def common(self, run_id: int) -> list[dict[str, Any]]:
        """Lesion samples of a run that every run classifies correctly."""
        wrong = {row["sample_id"] for row in self.samples if not row["correct"]}
        return [row for row in self.of(run_id) if row["sample_id"] not in wrong]


def _mean(values: list[float]) -> tuple[float | None, float | None, float | None]:
    if not values:
        return None, None, None
    mean, half = float(np.mean(values)), float(1.96 * np.std(values) / math.sqrt(len(values)))
    return mean, mean - half, mean + half


def _frames(record: Record) -> dict[str, list[dict[str, Any]]]:
    frames: dict[str, list[dict[str, Any]]] = {"sample_results": record.samples, "maps": record.maps}
    frames["labels"] = [
        {"code": c, "name": n, "group_name": g, "ordinal": o, "is_lesion": lesion}
        for o, (c, n, g, lesion) in enumerate(record.labels)
    ]
    frames["table_1_patches"] = [
        {"study_id": 1, "study": "demo", "ordinal": o, "code": c, "label": n, "train": 51, "validation": 9,
         "train_and_validation": 60, "test": sum(p["code"] == c for p in record.patches)}
        for o, (c, n, _, _) in enumerate(record.labels)
    ]  # fmt: skip
    frames["gallery"] = [
        {"sample_id": p["sample_id"], "true_code": p["code"], "group": p["group"], "pixels": pack_pixels(p["pixels"]),
         "mask": None if p["mask"] is None else pack_mask(p["mask"])}
        for p in record.patches
    ]  # fmt: skip
    frames["contact_sheet"] = [_cut(record, n, p) for n, p in enumerate(record.patches[: 2 * len(record.labels)])]
    for name in ("table_2_accuracy", "table_3_auc", "table_4_localization", "confusion_matrix", "class_scores",
                 "run_scores", "localization_scores",
                 "epochs", "runs", "selected_runs", "iou_curves", "comparison",
                 "baseline_differences", *EVIDENCE):  # fmt: skip
        frames[name] = []
    for run_id, (backbone, strategy) in enumerate(record.runs, start=1):
        _add_run(frames, record, run_id, backbone, strategy)
    add_shortcuts(frames)
    return frames


def _cut(record: Record, n: int, patch: dict[str, Any]) -> dict[str, Any]:
    """A patch as if cut from an image of 400 x 600 pixels at (100, 200), 192 pixels wide and high."""
    buffer = io.BytesIO()
    Image.fromarray(np.full((320, 213), 60 + n, dtype=np.uint8)).save(buffer, "WEBP")
    code, name, *_ = record.labels[patch["ordinal"]]
    return {
        "code": code, "name": name, "image_key": f"image {n}", "patient": patch["patient"].replace("_", ""),
        "laterality": "LEFT", "view": "CC", "split": "test", "window_x0": 100, "window_y0": 200,
        "window_x1": 292, "window_y1": 392, "pixels": pack_pixels(patch["pixels"]),
        "mask": None if patch["mask"] is None else pack_mask(patch["mask"]),
        "width": 400, "height": 600, "overview": buffer.getvalue(),
    }  # fmt: skip


def _add_run(frames: dict, record: Record, run_id: int, backbone: str, strategy: str) -> None:
    key = {"study_id": 1, "study": "demo", "run_id": run_id, "evaluation_id": run_id + 50, "backbone": backbone,
           "strategy": strategy, "seed": 0}  # fmt: skip
    hyper = {"batch_size": 16, "head_rate": 1e-3, "unit1_rate": 3e-4}
    of_run = [row for row in record.samples if row["run_id"] == run_id]
    accuracy, low, high = _mean([float(row["correct"]) for row in of_run])
    start = datetime(2026, 11, 23, 3, 50, tzinfo=UTC) + timedelta(minutes=run_id)
    frames["runs"].append(key | hyper | {
        "normalise": "train", "weights": "none", "status": "finished", "reason": None, "device": "cpu",
        "started_at": start, "finished_at": start + timedelta(seconds=48 + run_id), "config": {},
        "digest": f"{run_id:064x}",
    })  # fmt: skip
    frames["selected_runs"].append(key | {"validation_loss": 0.8})
    frames["table_2_accuracy"].append(key | hyper | {
        "accuracy": accuracy, "low": low, "high": high, "n": len(of_run), "best_epoch": 9, "epochs": 12,
        "validation_loss": 0.7 + 0.03 * run_id,
    })  # fmt: skip
    codes = [label[0] for label in record.labels]
    auc = {"auc": 0.9 - 0.01 * run_id, "auc_hard": 0.8 - 0.01 * run_id}
    auc |= {f"{kind}_{end}": auc[kind] + by for kind in tuple(auc) for end, by in (("low", -0.05), ("high", 0.04))}
    for ordinal, code in [(-1, "mean"), *enumerate(codes)]:
        frames["table_3_auc"].append(key | auc | {"ordinal": ordinal, "code": code})
    for true_ordinal, true_code in enumerate(codes):
        of_class = [row for row in of_run if row["true_code"] == true_code]
        for predicted_ordinal, predicted_code in enumerate(codes):
            hits = sum(row["predicted_code"] == predicted_code for row in of_class)
            frames["confusion_matrix"].append(key | {
                "true_ordinal": true_ordinal, "true_code": true_code, "predicted_ordinal": predicted_ordinal,
                "predicted_code": predicted_code, "count": hits, "row_fraction": hits / max(len(of_class), 1),
                "low": max(hits - 2, 0) / max(len(of_class), 1), "high": min(hits + 2, 12) / max(len(of_class), 12),
            })  # fmt: skip
        frames["class_scores"].append(key | auc | {
            "ordinal": true_ordinal, "code": true_code, "support": len(of_class), "reason": None, "precision": 0.7,
            "precision_low": 0.64, "precision_high": 0.75, "recall": 0.72, "recall_low": 0.65, "recall_high": 0.78,
            "f1": 0.71, "f1_low": 0.66, "f1_high": 0.76,
        })  # fmt: skip
    _add_localization(frames, record, key, accuracy)
    _add_curves(frames, record, key)
    add_evidence(frames, record.of(run_id, correct=False), of_run, record.labels, key, hyper)


def _add_localization(frames: dict, record: Record, key: dict, accuracy: float) -> None:
    groups = ["all", *dict.fromkeys(label[2] for label in record.labels if label[3])]
    for policy, factor in (("validation", 1.0), ("fixed", 0.9), ("otsu", 0.95), ("area", 1.05)):
        row = key | {"method": "grad_cam", "target": "predicted", "policy": policy, "headline": policy == "validation",
                     "accuracy": accuracy}  # fmt: skip
        for population in ("correct_lesions", "lesions"):
            for group in groups:
                samples = record.of(key["run_id"], group, population == "correct_lesions")
                score = {"name": "ll", "population": population, "group_name": group, "n": len(samples), "reason": None}
                ll, low, high = _mean([sample["iou"] * factor for sample in samples])
                head = {"method": "grad_cam", "target": "predicted", "policy": policy, "value": ll}
                frames["run_scores"].append(key | score | head | {"low": low, "high": high})
                if (population, group) == ("correct_lesions", "all"):
                    row |= {
                        "ll": ll,
                        "low": low,
                        "high": high,
                        "n": len(samples),
                        "reason": None if samples else "no_samples",
                        "accuracy_low": accuracy - 0.05,
                        "accuracy_high": accuracy + 0.05,
                        "accuracy_x_ll": (ll or 0) * accuracy,
                        "accuracy_x_ll_low": (low or 0) * accuracy,
                        "accuracy_x_ll_high": (high or 0) * accuracy,
                    }
                for baseline in BASELINES:
                    gap, low, high = _mean([sample["iou"] * factor - sample[f"{baseline}_iou"] for sample in samples])
                    of = {"method": "grad_cam", "target": "predicted", "policy": policy, "baseline": baseline,
                          "headline": policy == "validation", "population": population,
                          "group_name": group}  # fmt: skip
                    frames["baseline_differences"].append(
                        key | of | {"difference": gap, "low": low, "high": high, "n": len(samples), "reason": None}
                    )
                    random = baseline == "random_weights"
                    if not random and policy != "validation":
                        continue
                    value, low, high = _mean([sample[f"{baseline}_iou"] for sample in samples])
                    at = {"method": baseline, "target": "predicted" if random else "none",
                          "policy": policy if random else "mask", "value": value, "low": low, "high": high}  # fmt: skip
                    frames["run_scores"].append(key | score | at)
                    if (population, group) == ("correct_lesions", "all"):
                        row |= {baseline: value, f"{baseline}_low": low, f"{baseline}_high": high}
        for baseline in BASELINES[:3]:
            if baseline not in row:
                headline = frames["table_4_localization"][-1 if policy == "fixed" else -2]
                row |= {f"{baseline}{end}": headline[f"{baseline}{end}"] for end in ("", "_low", "_high")}
        frames["table_4_localization"].append(row)
    head = {"method": "grad_cam", "target": "predicted", "policy": "validation", "headline": True, "group_name": "all"}
    for population, samples in (
        ("correct_lesions", record.of(key["run_id"])),
        ("lesions", record.of(key["run_id"], correct=False)),
        ("common_lesions", record.common(key["run_id"])),
    ):
        ll, low, high = _mean([sample["iou"] for sample in samples])
        score = {"population": population, "ll": ll, "low": low, "high": high, "n": len(samples)}
        frames["localization_scores"].append(key | head | score)
    maps = {("grad_cam", "predicted"): 0.6, ("random_weights", "predicted"): 0.2, ("centred_disc", "none"): 0.3}
    for name, ((method, target), value) in product(("hit_rate", "energy", "rank_accuracy", "pixel_ap"), maps.items()):
        frames["run_scores"].append(key | {
            "name": name, "method": method, "target": target, "policy": None, "population": "correct_lesions",
            "group_name": "all", "value": value, "low": value - 0.1, "high": value + 0.1, "n": 40, "reason": None,
        })  # fmt: skip


def _add_curves(frames: dict, record: Record, key: dict) -> None:
    epochs = [(n, 1 if n <= 4 else 2 if n <= 8 else 3) for n in range(1, 13)]
    for epoch, phase in epochs:
        phase = phase if key["strategy"] == "gradual" else 1
        frames["epochs"].append({
            "run_id": key["run_id"], "epoch": epoch, "phase": phase, "train_loss": 1.6 * 0.86**epoch,
            "validation_loss": 0.55 + 1.1 * 0.8**epoch + 0.02 * max(epoch - 9, 0) + 0.01 * key["run_id"],
            "validation_accuracy": 0.8 - 0.5 * 0.8**epoch, "seconds": 4.1, "rates": {"head": 1e-3},
            "improved": epoch <= 9,
        })  # fmt: skip
    for method, top in (("grad_cam", 0.4), ("random_weights", 0.15)):
        for threshold in THRESHOLDS:
            frames["iou_curves"].append(key | {
                "method": method, "target": "predicted", "threshold": threshold,
                "iou": top * math.exp(-((threshold - 0.45) ** 2) / 0.08), "n": 40,
                "low": 0.8 * top * math.exp(-((threshold - 0.45) ** 2) / 0.08),
                "high": 1.2 * top * math.exp(-((threshold - 0.45) ** 2) / 0.08),
            })  # fmt: skip


SCHEMAS = {
    "exclusion_reasons": {"study_id": pl.Int64, "study": pl.String, "reason": pl.String, "lesions": pl.Int64},
    "exclusions": {"image_key": pl.String, "lesion_key": pl.String, "reason": pl.String, "detail": pl.String},
}


def build(
    labels: tuple = LABELS,
    runs: tuple = RUNS,
    per_class: int = 12,
    seed: int = 0,
    skill: dict[int, float] | None = None,
    config: dict[str, Any] | None = None,
    size: int = SIZE,
) -> ReportData:
    """Report data as the record gives it. `skill`: probability of a correct prediction by run id."""
    record = Record(labels, runs, per_class, seed, skill or {}, size)
    frames = _frames(record)
    full = Record(LABELS, RUNS[:1], 2, 0, {})
    empty = {name: pl.DataFrame(found, infer_schema_length=None).clear() for name, found in _frames(full).items()}
    tables = {
        name: pl.DataFrame(found, infer_schema_length=None) if found else empty[name] for name, found in frames.items()
    }
    tables["comparison"] = pl.DataFrame(schema=dict.fromkeys(
        ("evaluation_a", "evaluation_b"), pl.Int64) | {"score": pl.String} | dict.fromkeys(
        ("value_a", "value_b", "difference", "low", "high", "p", "p_holm"), pl.Float64) | {"n": pl.Int64})  # fmt: skip
    tables["exclusion_reasons"] = pl.DataFrame(
        [(1, "demo", "mask_missing", 3), (1, "demo", "overwritten", 12)],
        schema=SCHEMAS["exclusion_reasons"],
        orient="row",
    )
    tables["exclusions"] = pl.DataFrame(
        [("case-1", "lesion-1", "mask_missing", "0 masks in the folder")], schema=SCHEMAS["exclusions"], orient="row"
    )
    pairs = (("train", "validation"), ("train", "test"), ("validation", "test"))
    tables["split_check"] = pl.DataFrame([
        {"unit": unit, "split_a": a, "split_b": b, "shared": 0, "examples": []}
        for unit in ("patient", "image", "lesion") for a, b in pairs
    ], schema_overrides={"examples": pl.List(pl.String)})  # fmt: skip
    tables["official_overlap"] = pl.DataFrame({"unit": ["patient", "image"], "shared": [0, 0]})
    tables["normalisation"] = pl.DataFrame(
        {"code": [None], "mean": [0.41], "std": [0.2]}, schema_overrides={"code": pl.String}
    )
    study = {
        "id": 1, "digest": "ab" * 32, "dataset_digest": "cd" * 32, "sample_set_digest": "ef" * 32,
        "name": "demo", "config": config or demo().model_dump(mode="json"),
        "versions": {"lesionlens": "0.1.0", "torch": "2.14.1"}, "created_at": datetime(2026, 11, 23, 3, 50, tzinfo=UTC),
    }  # fmt: skip
    return ReportData(study, tables)


@pytest.fixture(scope="session")
def make_data() -> Factory:
    """Builds report data; arguments as `build`."""
    return build


@pytest.fixture(scope="session")
def data() -> ReportData:
    """Four finished runs on sixty patches."""
    return build()


@pytest.fixture(scope="session")
def browser():
    """A Chromium; skipped where there is none, except in CI."""
    if not CHROMIUM.exists():
        message = f"no Chromium at {CHROMIUM}: install it, or set LESIONLENS_CHROMIUM"
        if os.environ.get("CI"):
            pytest.fail(message)
        pytest.skip(message)
    with sync_playwright() as playwright:
        started = playwright.chromium.launch(executable_path=str(CHROMIUM), args=FLAGS)
        yield started
        started.close()


@contextmanager
def watched(browser, address):
    """The page at `address`; fails at its end on any console message, page error or request beyond the file."""
    context = browser.new_context(viewport={"width": 1200, "height": 900})
    opened = context.new_page()
    trouble = []
    opened.on("console", lambda message: trouble.append(message.text))
    opened.on("pageerror", lambda error: trouble.append(str(error)))
    opened.on("request", lambda request: trouble.append(request.url) if not request.url.startswith(address) and not
              request.url.startswith("data:") else None)  # fmt: skip
    opened.goto(address)
    yield opened
    context.close()
    assert trouble == []
