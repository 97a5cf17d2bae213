"""Report data as the record gives it: synthetic samples of a seed, and every score of them."""

import io
from collections.abc import Iterable
from dataclasses import replace
from datetime import UTC, datetime
from itertools import product
from typing import Any

import numpy as np
import polars as pl
from PIL import Image
from scipy.ndimage import gaussian_filter, zoom

from lesionlens import records
from lesionlens.config.presets import demo
from lesionlens.records import ReportData
from lesionlens.reporting.verdict import answers
from lesionlens.samples.normalise import pack_mask, pack_pixels

LABELS = (
    ("B", "background", "background", False),
    ("BC", "benign calcification", "calcification", True),
    ("BM", "benign mass", "mass", True),
    ("MC", "malignant calcification", "calcification", True),
    ("MM", "malignant mass", "mass", True),
)
RUNS = (("vgg11_bn", "gradual"), ("vgg11_bn", "simultaneous"), ("resnet18", "gradual"), ("resnet18", "simultaneous"))
BASELINES = {"whole_patch": 1.0, "centred_disc": 1.8, "mean_mask": 1.6, "random_weights": 0.9, "dealt_maps": 1.2}
"""LL of a baseline in units of the patch's proportion inside the annotation."""
POLICIES = {"validation": 1.0, "area": 1.05, "fixed": 0.9, "otsu": 0.95}
SIZE, GRID = 96, 6
Rows = list[dict[str, Any]]


def around(
    name: str, value: float | None, down: float = 0.05, up: float | None = None, ends: str = ""
) -> dict[str, Any]:
    """A value with its interval, in columns `name`, and `low` and `high` behind `ends`, or behind the name."""
    ends = ends or f"{name}_"
    bounds = {f"{ends}low": -down, f"{ends}high": down if up is None else up}
    return {name: value} | {end: None if value is None else round(value + by, 9) for end, by in bounds.items()}


def scored(value: float | None, down: float = 0.05, name: str = "value", up: float | None = None) -> dict[str, Any]:
    """A value with its interval in columns `low` and `high`."""
    return {end.removeprefix("x_"): v for end, v in around(name, value, down, up, "x_").items()}


def side(name: str, value: float) -> dict[str, Any]:
    """A score with ends named after it, 0.125 away."""
    return {name: value, f"{name}_low": value - 0.125, f"{name}_high": value + 0.125}


def disc(x: float, y: float, radius: float, size: int) -> np.ndarray:
    rows, columns = np.mgrid[:size, :size]
    return np.hypot(columns - x, rows - y) <= radius


class Samples:
    """Patches and what every run predicts of them: `frames` gallery, contact_sheet, sample_results, maps."""

    def __init__(self, labels: tuple, runs: tuple, per_class: int, seed: int, skill: dict[int, float], size: int):
        self.labels, self.size, self.random = labels, size, np.random.default_rng(seed)
        self.skill = skill or {n: 0.62 + 0.08 * ((n - 1) % 3) for n in range(1, len(runs) + 1)}
        self.gallery, self.sheet, self.results, self.maps = [], [], [], []
        for n in range(per_class * len(labels)):
            self._patch(100 + n, n % len(labels), runs)

    def _patch(self, sample_id: int, ordinal: int, runs: tuple) -> None:
        code, name, _, is_lesion = self.labels[ordinal]
        unit = self.size / SIZE
        texture = gaussian_filter(self.random.normal(size=(self.size, self.size)), 5) * 160 + 90
        x, y = self.random.uniform(30 * unit, self.size - 30 * unit, 2)
        mask = disc(x, y, self.random.uniform(10, 20) * unit, self.size)
        pixels = np.clip(texture + (gaussian_filter(mask.astype(float), 3) * 70 if is_lesion else 0), 0, 255)
        stored = {"pixels": pack_pixels(pixels.astype(np.uint8)), "mask": pack_mask(mask) if is_lesion else None}
        kind = self.labels[ordinal][2] if is_lesion else None
        shape = {"height": self.size, "width": self.size, "scale": 1}
        self.gallery.append({"sample_id": sample_id, "lesion_type": kind, "pathology": None} | shape | stored)
        if len(self.sheet) < 2 * len(self.labels):
            self.sheet.append(
                {"code": code, "name": name}
                | _window(len(self.sheet), sample_id)
                | stored
                | {"sample_height": self.size, "sample_width": self.size, "scale": 1}
            )
        patch = {
            "sample_id": sample_id, "sample_key": f"case_{sample_id}:{code}", "image_key": f"case_{sample_id}",
            "patient": f"P_{sample_id:05d}", "laterality": "LEFT", "view": "CC", "breast_density": 2, "subtlety": 4,
            "lesion_key": f"lesion_{sample_id}" if is_lesion else None, "true_code": code,
            "mask_fraction": float(mask.mean()) if is_lesion else None,
        }  # fmt: skip
        for run_id in range(1, len(runs) + 1):
            self._predict(run_id, patch, (x, y), mask if is_lesion else None)

    def _predict(self, run_id: int, patch: dict, at: tuple, mask: np.ndarray | None) -> None:
        others = [label[0] for label in self.labels if label[0] != patch["true_code"]]
        correct = bool(self.random.random() < self.skill[run_id])
        spot = disc(*(np.array(at) / self.size * GRID - 0.5), 0.4, GRID)
        grid = gaussian_filter(spot.astype(float) + self.random.normal(scale=0.02, size=(GRID, GRID)), 0.7)
        heat = zoom(np.maximum(grid, 0), self.size / GRID, order=1)
        region = heat >= 0.45 * heat.max()
        iou = None if mask is None else float((region & mask).sum() / (region | mask).sum())
        self.results.append({"run_id": run_id} | patch | {
            "predicted_code": patch["true_code"] if correct else str(self.random.choice(others)), "correct": correct,
            "confidence": float(self.random.uniform(0.35, 0.99)), "method": "grad_cam", "threshold": 0.45, "iou": iou,
            "blank": False, "hit": None if iou is None else iou > 0.2, "whole_patch_iou": patch["mask_fraction"],
        })  # fmt: skip
        self.maps.append({
            "run_id": run_id, "sample_id": patch["sample_id"], "method": "grad_cam", "target": "predicted",
            "rows": GRID, "cols": GRID, "grid": grid.ravel().astype(np.float32).tolist(),
        })  # fmt: skip

    def lesions(self, run_id: int, population: str = "lesions", group: str = "all") -> Rows:
        """Lesion samples of a run: all, those it classifies correctly, or those that every run does; of a group."""
        groups = {label[0]: label[2] for label in self.labels}
        wrong = {row["sample_id"] for row in self.results if not row["correct"]}
        kept = {
            "lesions": lambda row: True,
            "correct_lesions": lambda row: row["correct"],
            "common_lesions": lambda row: row["sample_id"] not in wrong,
        }[population]
        of_run = [row for row in self.results if row["run_id"] == run_id and row["iou"] is not None and kept(row)]
        return [row for row in of_run if group in ("all", groups[row["true_code"]])]


def _window(n: int, sample_id: int) -> dict[str, Any]:
    """A patch as cut from an image of 400 x 600 pixels at (100, 200), 192 pixels wide and high."""
    buffer = io.BytesIO()
    Image.fromarray(np.full((320, 213), 60 + n, dtype=np.uint8)).save(buffer, "WEBP")
    return {
        "patient": f"P{sample_id:05d}", "laterality": "LEFT", "view": "CC", "split": "test", "width": 400,
        "height": 600, "window_x0": 100, "window_y0": 200, "window_x1": 292, "window_y1": 392,
        "overview": buffer.getvalue(),
    }  # fmt: skip


def _mean(values: Iterable[float], name: str) -> dict[str, Any]:
    found = list(values)
    half = 1.96 * float(np.std(found)) / len(found) ** 0.5 if found else 0
    return scored(float(np.mean(found)) if found else None, half, name)


def _classification(frames: dict[str, Rows], samples: Samples, run: dict, codes: list[str]) -> None:
    key, results = {"run_id": run["run_id"]}, [row for row in samples.results if row["run_id"] == run["run_id"]]
    shared = {"backbone": run["backbone"], "strategy": run["strategy"]}
    accuracy = _mean([float(row["correct"]) for row in results], "accuracy")
    frames["table_2_accuracy"].append(run | accuracy | {
        "n": len(results), "best_epoch": 9, "epochs": 12, "validation_loss": 0.7 + 0.03 * run["run_id"],
    })  # fmt: skip
    areas = around("auc", 0.9 - 0.01 * run["run_id"], up=0.04) | around("auc_hard", 0.8 - 0.01 * run["run_id"])
    for ordinal, code in [(-1, "mean"), *enumerate(codes)]:
        frames["table_3_auc"].append(key | shared | {"ordinal": ordinal, "code": code} | areas)
    reports = [around("precision", 0.7), around("recall", 0.72, 0.07), around("f1", 0.71)]
    for ordinal, code in enumerate(codes):
        of_class = [row["predicted_code"] for row in results if row["true_code"] == code]
        scores = {name: value for report in reports for name, value in report.items()}
        frames["class_scores"].append(key | {"ordinal": ordinal, "code": code, "support": len(of_class)} | scores)
        for place, predicted in enumerate(codes):
            fraction = of_class.count(predicted) / max(len(of_class), 1)
            frames["confusion_matrix"].append(key | scored(fraction, 0.1, "row_fraction") | {
                "true_ordinal": ordinal, "true_code": code, "predicted_ordinal": place, "predicted_code": predicted,
                "count": of_class.count(predicted),
            })  # fmt: skip
        for rate in np.linspace(0, 1, 9).tolist():
            point = {"threshold": 1 - rate, "false_positive_rate": rate, "true_positive_rate": rate**0.3}
            frames["roc_curve"].append(key | {"ordinal": ordinal, "code": code} | point)
    for average, score in product(("macro", "weighted"), ("precision", "recall", "f1")):
        frames["average_scores"].append(key | {"average": average, "score": score} | scored(0.65))
    for side, score in product(("lesion", "malignant"), ("auc", "accuracy", "sensitivity", "specificity")):
        frames["binary_scores"].append(key | {"side": side, "score": score, "n": len(results)} | scored(0.8))
    for number in range(10):
        empty = number < 2
        frames["reliability_curve"].append(
            key | {"bin": number, "n": 0 if empty else 3 * number, "confidence": None if empty else number / 10 + 0.05}
            | scored(None if empty else number / 11, 0.1, "accuracy")
        )  # fmt: skip
    frames["calibration"].append(key | scored(0.08, 0.03, "calibration_error", up=0.04))


def _training(frames: dict[str, Rows], run: dict) -> None:
    frames["selected_runs"].append({"run_id": run["run_id"], "validation_loss": 0.8})
    frames["runs"].append(run | {
        "evaluation_id": run["run_id"] + 50, "status": "finished", "best_epoch": 9, "reason": None, "device": "cpu",
        "epochs": 12,
        "seconds": 48.0, "evaluation_seconds": 12.0, "digest": f"{run['run_id']:064x}",
    })  # fmt: skip
    for epoch in range(1, 13):
        phase = 1 + (epoch > 4) + (epoch > 8) if run["strategy"] == "gradual" else 1
        frames["epochs"].append({
            "run_id": run["run_id"], "epoch": epoch, "phase": phase, "train_loss": 1.6 * 0.86**epoch,
            "validation_loss": 0.55 + 1.1 * 0.8**epoch + 0.02 * max(epoch - 9, 0) + 0.01 * run["run_id"],
            "validation_accuracy": 0.8 - 0.5 * 0.8**epoch, "validation_froc": None, "seconds": 4.1,
            "compares": False, "weighs": True,
        })  # fmt: skip


def _localization(frames: dict[str, Rows], samples: Samples, run: dict) -> None:
    key, accuracy = {"run_id": run["run_id"]}, frames["table_2_accuracy"][-1]["accuracy"]
    lesion_groups = dict.fromkeys(label[2] for label in samples.labels if label[3])
    for population, group in product(("correct_lesions", "lesions", "common_lesions"), ("all", *lesion_groups)):
        if population == "common_lesions" and group != "all":
            continue
        found = samples.lesions(run["run_id"], population, group)
        at = key | {"population": population, "group_name": group, "n": len(found)}
        against = {}
        for name, factor in BASELINES.items():
            theirs = [row["mask_fraction"] * factor for row in found]
            mean = _mean(theirs, name)
            if name in records.BASELINES:
                against |= {name: mean[name], f"{name}_low": mean["low"], f"{name}_high": mean["high"]}
            if population == "correct_lesions":
                gaps = _mean([row["iou"] - other for row, other in zip(found, theirs, strict=True)], "difference")
                gap = key | {"group_name": group, "baseline": name, "n": len(found)} | gaps
                frames["baseline_differences"].append(gap)
        ceiling = around("ceiling", 0.7, 0.02) | {"ceiling_share": 0.5, "map_rows": GRID, "map_cols": GRID}
        frames["localization_scores"].append(at | _mean([row["iou"] for row in found], "ll") | against | ceiling)
        if (population, group) == ("correct_lesions", "all"):
            ceilings = around("ceiling", 0.7, 0.02)
            for policy, factor in POLICIES.items():
                ll = _mean([row["iou"] * factor for row in found], "ll")
                product_of = around("accuracy_x_ll", None if ll["ll"] is None else ll["ll"] * accuracy)
                scores = against | ceilings | ll | product_of | around("accuracy", accuracy)
                frames["table_4_localization"].append(key | scores | {
                    "backbone": run["backbone"], "strategy": run["strategy"], "method": "grad_cam", "n": len(found),
                    "target": "predicted", "policy": policy, "headline": policy == "validation",
                    "map_rows": GRID, "map_cols": GRID,
                    "reason": None if found else "no_samples",
                })  # fmt: skip
    maps = {("grad_cam", "predicted"): 0.6, ("random_weights", "predicted"): 0.2, ("centred_disc", "none"): 0.3}
    names = ("hit_rate", "energy", "rank_accuracy", "pixel_ap")
    for ((method, target), value), name in product(maps.items(), names):
        at = {"method": method, "target": target, "population": "correct_lesions", "score": name, "n": 40}
        frames["threshold_free_scores"].append(key | at | scored(value, 0.1))
    for (method, top), step in product((("grad_cam", 0.4), ("random_weights", 0.15)), range(1, 20)):
        iou = top * float(np.exp(-((step - 9) ** 2) / 32))
        at = {"method": method, "target": "predicted", "threshold": round(0.05 * step, 2), "n": 40}
        frames["iou_curves"].append(key | at | scored(iou, 0.2 * iou, "iou"))


def _audits(frames: dict[str, Rows], samples: Samples, run: dict) -> None:
    key, lesions = {"run_id": run["run_id"]}, samples.lesions(run["run_id"])
    codes = [(-1, "all"), *((n, label[0]) for n, label in enumerate(samples.labels) if label[3])]
    for (ordinal, code), correct, located in product(codes, (True, False), (True, False)):
        of_class = [row for row in lesions if code in ("all", row["true_code"])]
        inside = [row["sample_id"] for row in of_class if (row["correct"], row["hit"]) == (correct, located)]
        frames["quadrants"].append(
            key | {"ordinal": ordinal, "code": code, "correct": correct, "located": located, "n": len(inside),
                   "lesions": len(of_class)}
            | scored(len(inside) / len(of_class) if of_class else None, 0.0, "proportion")
        )  # fmt: skip
    for group in ("all", *dict.fromkeys(label[2] for label in samples.labels if label[3])):
        drops = around("lesion_drop", 0.31, 0.09) | around("control_drop", 0.02, up=0.04)
        drops |= around("difference", 0.29, 0.08)
        at = {"population": "correct_lesions", "group_name": group, "n": len(lesions)}
        frames["occlusion_test"].append(key | at | drops)
        changes = {"lesions": len(lesions) + 2, "unfair": 2, "lesion_change": 0.04, "control_change": 0.03}
        frames["occlusion_fairness"].append(key | {"group_name": group} | changes)
        frames["hit_rates"].append(
            key | {"population": "correct_lesions", "group_name": group, "n": len(lesions)} | scored(0.8, 0.1)
        )
    for question, level in product(("detection", "diagnosis"), ("lesion", "breast", "patient")):
        at = key | {"question": question, "level": level, "n": 60, "reason": None}
        frames["operating_points"].append(at | {"measure": "auc", "at": None, "threshold": None} | scored(0.9, 0.06))
        for step in range(21):
            height = {"value": (1 - step / 20) ** 0.25, "low": None, "high": None}
            frames["operating_points"].append(at | {"measure": "roc", "at": step / 20, "threshold": None} | height)
        for (measure, value), wanted in product((("sensitivity", 0.75), ("specificity", 0.83)), (0.8, 0.9)):
            cut = {"measure": measure, "at": wanted, "threshold": wanted - 0.3}
            frames["operating_points"].append(at | cut | scored(value, 0.1))
    for step, layer in enumerate((None, "head", "unit1", "unit2", "stem")):
        similar = 0.15 + 0.85 * 0.45**step
        rank = around("rank_correlation", similar - 0.1, ends="rank_")
        frames["weight_randomisation"].append(
            key | {"step": step, "layer": layer, "ssim_chance": 0.21, "rank_chance": 0.02, "n": 32}
            | around("ssim", similar, 0.04) | rank
        )  # fmt: skip
    for level, ll in (("0.00 to 0.05", 0.1), ("0.05 to 0.10", 0.3), ("0.10 to 0.20", 0.5)):
        against = {name: value for b in records.BASELINES for name, value in around(b, ll / 2, ll / 10).items()}
        at = key | {"subgroup": "mask_fraction", "level": level, "n": 12}
        frames["subgroup_scores"] += [
            at | {"name": "accuracy", "population": "all"} | dict.fromkeys(against) | scored(0.7, 0.1),
            at | {"name": "ll", "population": "correct_lesions"} | against | scored(ll, 0.08),
        ]


MEASURED = {
    ("class", "all"): {"accuracy": 0.8, "majority": 0.2, "accuracy_over_majority": 0.6},
    ("detection", "smooth"): {"auc_intact": 0.95, "fall_lesion": 0.31, "fall_control": 0.02, "fall": 0.29},
    ("detection", "texture"): {"fall_lesion": 0.3},
    ("diagnosis", "smooth"): {"auc_intact": 0.9, "auc_lesion": 0.52, "auc_control": 0.89, "auc_fall": 0.38},
    ("diagnosis", "texture"): {"auc_intact": 0.9, "auc_lesion": 0.51, "auc_fall": 0.39},
    ("diagnosis", "swap"): {"swap_lesion_auc": 0.8, "swap_surroundings_auc": 0.51, "swap_difference": 0.29},
}
"""Measures of a model that looks at the lesion, by question and variant."""


def _decisions(labels: tuple, runs: tuple, samples: Samples) -> Rows:
    """The measures of the first run's cell, for all lesions and for each group; LL as its samples have it."""
    found: Rows = []
    for group in (None, *dict.fromkeys(label[2] for label in labels if label[3])) if runs else ():
        at = {"backbone": runs[0][0], "strategy": runs[0][1], "batch_size": 16, "head_rate": 1e-3, "unit1_rate": 3e-4,
            "guidance": "none",
              "seeds": 1, "group_name": group}  # fmt: skip
        lesions = samples.lesions(1, "correct_lesions", group or "all")
        counted = at | {"lesions": len(lesions), "patients": len(lesions)}
        of_maps = {"ll": [row["iou"] for row in lesions], "ceiling": [0.7 for _ in lesions]}
        for name, factor in BASELINES.items():
            of_maps[f"over_{name}"] = [row["iou"] - row["mask_fraction"] * factor for row in lesions]
            of_maps[f"ceiling_over_{name}"] = [0.7 - row["mask_fraction"] * factor for row in lesions]
        found += [
            counted | {"question": "localization", "variant": "grad_cam", "measure": measure} | _mean(values, "value")
            for measure, values in of_maps.items()
        ]
        found += [
            counted | {"question": question, "variant": variant, "measure": measure} | scored(value)
            for (question, variant), measures in MEASURED.items()
            for measure, value in measures.items()
        ]
    return found


def _flow(samples: int, lesions: int) -> Rows:
    """What is listed, excluded and included, with as many test samples and test lesions."""
    sizes = {"train": (40, 48, 44, 60), "validation": (8, 9, 8, 12), "test": (samples, samples, lesions, samples)}
    excluded = {"overwritten": 12, "mask_missing": 3}
    whole = [sum(column) for column in zip(*sizes.values(), strict=True)]
    lost = sum(excluded.values())
    rows = [("listed", None, None, whole[0] + 4, whole[1] + lost, whole[2] + lost, 0)]
    rows += [("excluded", None, reason, min(n, 4), n, n, 0) for reason, n in excluded.items()]
    rows += [("included", split, None, *counts) for split, counts in sizes.items()]
    rows.append(("included", None, None, *whole))
    names = ("stage", "split", "reason", "patients", "images", "lesions", "samples")
    return [dict(zip(names, row, strict=True)) for row in rows]


def _constant(labels: tuple, samples: Samples) -> dict[str, Rows]:
    """Frames that do not depend on runs."""
    test = [row["true_code"] for row in samples.results if row["run_id"] == 1]
    pairs = (("train", "validation"), ("train", "test"), ("validation", "test"))
    audit = {"majority": 0.2, "sharpness": 0.3, "size": 0.34, "intensity": 0.41, "surroundings": 0.5}
    return {
        "labels": [
            {"code": code, "name": name, "group_name": group, "ordinal": n, "is_lesion": lesion}
            for n, (code, name, group, lesion) in enumerate(labels)
        ],
        "table_1_patches": [
            {"ordinal": n, "code": code, "label": name, "train": 51, "validation": 9, "train_and_validation": 60,
             "test": test.count(code)}
            for n, (code, name, *_) in enumerate(labels)
        ],
        "flow_counts": _flow(len(test), sum(next(x[3] for x in labels if x[0] == code) for code in test)),
        "test_uses": [{"test_digest": "9" * 64, "runs": 7, "evaluations": 8, "studies": 2}],
        "checklist": [
            {"claim": "7", "tripod": "5a", "section": "Data", "title": "Where the data come from",
             "value": "demo, layout phantom", "query": "SELECT dataset AS value FROM studies"},
            {"claim": "5", "tripod": "", "section": "Study design", "title": "Prospective or retrospective",
             "value": None, "query": None},
        ],
        "exclusion_reasons": [
            {"reason": "overwritten", "lesions": 12, "images": 0},
            {"reason": "mask_missing", "lesions": 3, "images": 0},
            {"reason": "same_pixels", "lesions": 0, "images": 2},
        ],
        "exclusions": [
            {"image_key": "case-1", "lesion_key": "lesion-1", "reason": "mask_missing", "detail": "0 masks"}
        ],
        "split_check": [
            {"entity": entity, "split_a": a, "split_b": b, "shared": 0}
            for entity, (a, b) in product(("patient", "lesion", "image", "pixels"), pairs)
        ],
        "official_overlap": [{"entity": "patient", "shared": 0}, {"entity": "image", "shared": 0}],
        "normalisation": [{"code": None, "mean": 0.41, "std": 0.2}, {"code": labels[0][0], "mean": 0.3, "std": 0.1}],
        "shortcut_audit": [
            {"features": name, "question": "class", "n": 60, "auc": None} | scored(v, 0.05, "accuracy")
            for name, v in audit.items()
        ] + [
            {"features": name, "question": question, "n": 60, "accuracy": None} | scored(0.55, 0.05, "auc")
            for name in audit if name != "majority" for question in ("detection", "diagnosis")
        ],
    }  # fmt: skip


RARE: dict[str, Rows] = {
    "guidance": [
        {"backbone": "vgg11_bn", "strategy": "gradual", "batch_size": 16, "head_rate": 1e-3, "unit1_rate": 3e-4,
         "guidance": "none", "seeds": 3, "question": "guidance", "variant": "all", "measure": "iou", "value": 0.4,
         "low": 0.3, "high": 0.5, "lesions": 60, "patients": 40},
    ],
    "method_maps": [
        {"run_id": 1, "sample_id": 101, "method": method, "rows": 2, "cols": 2, "grid": [0.0, 1.0, -1.0, 0.5],
         "hit": True, "threshold": 0.5, "iou": 0.25}
        for method in ("saliency", "lime")
    ],
    "activation_precisions": [
        {"run_id": 1, "method": method, "ordinal": None, "code": None, "share": 0.12, "n": 36, "black_box": black_box}
        | scored(value, 0.05) | side("difference", value - 0.12)
        for method, value, black_box in (("each_prototype", 0.31, False), ("grad_cam", 0.45, True))
    ],
    "black_boxes": [
        {"run_id": 1, "accuracy": 0.7, "low": 0.6, "high": 0.8, "n": 60, "title": "resnet18", "other": 0.75,
         "other_low": 0.65, "other_high": 0.85, "other_n": 60}
    ],
    "prototypes": [
        {"run_id": 1, "number": 1, "ordinal": 2, "code": "BM", "kept": True, "source_key": "case 1", "patient": "P_1",
         "row": 1, "col": 0, "rows": 2, "cols": 2, "weight": 1.5, "weights": [-0.5, 0.0, 1.5, 0.0, -0.5], "purity": 0.9,
         "coverage": 0.6, "share": 0.12, "n": 9} | scored(0.3, 0.1)
    ],
    "explained_inside": [{"run_id": 1, "population": "lesions", "n": 36} | scored(0.6, 0.1)],
    "prototype_matches": [
        {"run_id": 1, "sample_key": "patch 1", "number": 1, "row": 0, "col": 1, "similarity": 4.2, "points": 6.3}
    ],
    "cases": [
        {"run_id": 1, "number": 1, "place": place, "sample_key": f"case {place + 1}", "code": "BM",
         "pixels": pack_pixels(np.full((32, 32), 40 * place + 40, np.uint8)), "mask": None, "height": 32,
         "width": 32} for place in (0, 1)
    ],
    "marks": [
        {"run_id": 1, "sample_id": 1001, "ordinal": 1, "x0": 2.0, "y0": 2.0, "x1": 12.0, "y1": 12.0, "score": 0.9}
    ],
    "film_lesions": [{"sample_id": 1001, "ordinal": 1, "x0": 4.0, "y0": 4.0, "x1": 14.0, "y1": 14.0}],
    "comparison": [
        {"run_a": 1, "run_b": 2, "score": "accuracy", "p_holm": 0.5, "n": 60, "seeds": 3, "lowest": 0.05,
         "highest": 0.15} | scored(0.1, 0.2, "difference")
    ],
    "seed_spread": [
        {"backbone": "vgg11_bn", "strategy": "gradual", "batch_size": 16, "head_rate": 1e-3, "unit1_rate": 3e-4,
            "guidance": "none",
         "name": name, "method": method, "policy": policy, "seeds": 3, "mean": 0.7, "lowest": 0.6, "highest": 0.75}
        for name, method, policy in (("accuracy", None, None), ("ll", "grad_cam", "validation"))
    ],
    "breast_scores": [
        {"run_id": 1, "patient": f"P{n // 2}", "laterality": "LEFT" if n % 2 else "RIGHT",
         "label": "malignant" if n % 3 else "benign", "score": ((7 * n) % 24) / 24}
        for n in range(24)
    ],
    "transfer": [
        {"run_id": 1, "start_run_id": 9, "start_study": "patch study"}
        | side("start_ll", 0.4) | side("auc", 0.7) | side("lift", 3.0)
    ],
    "transfer_correlations": [
        {"measure": "auc", "rank_correlation": 1.0, "low": None, "high": None, "n": 2},
        {"measure": "lift", "rank_correlation": 0.5, "low": -0.2, "high": 0.8, "n": 12},
    ],
    "external": [
        {"run_id": 1, "other_id": 9, "other_dataset": "elsewhere", "is_external": False, "shared_images": 3,
         "shared_patients": 2, "left_out": 4, "missing_classes": ["MC"], "measure": measure, "internal_n": 60,
         "internal_patients": 30, "external_n": 40, "external_patients": 20}
        | side("internal", 0.75) | side("external", 0.5) | side("difference", 0.25)
        for measure in ("ll", "accuracy")
    ],
    "detections": [
        {"run_id": 1, "method": method, "measure": "sensitivity", "criterion": "centre", "group_name": "all",
         "false_marks": at, "value": value, "low": value - 0.1, "high": value + 0.1, "n": 40, "reason": None}
        for method, top in (("boxes", 0.8), ("bright_blob", 0.4))
        for at, value in ((0.25, top / 4), (0.5, top / 2), (1.0, top * 0.75), (2.0, top * 0.9), (4.0, top))
    ]
    + [
        {"run_id": 1, "method": "boxes", "measure": measure, "criterion": criterion, "group_name": "all",
         "false_marks": at, "value": value, "low": None if end is None else value - end,
         "high": None if end is None else value + end, "n": 40, "reason": None}
        for measure, criterion, at, value, end in (
            ("difference", "centre", 1.0, 0.3, 0.2), ("average_precision", "iou_0.2", None, 0.61, None),
            ("average_precision", "iou_0.5", None, 0.47, None), ("class_auc", "centre", None, 0.7, 0.1),
        )
    ],
}  # fmt: skip
"""Rows of the frames that are empty in most studies."""
PER_RUN = (
    "table_2_accuracy", "table_3_auc", "class_scores", "confusion_matrix", "roc_curve", "average_scores",
    "binary_scores", "reliability_curve", "calibration", "selected_runs", "runs", "epochs", "baseline_differences",
    "localization_scores", "table_4_localization", "threshold_free_scores", "iou_curves", "quadrants",
    "occlusion_test", "weight_randomisation", "subgroup_scores", "hit_rates", "operating_points", "checkpoints",
    "occlusion_fairness",
)  # fmt: skip


def _frames(labels: tuple, runs: tuple, samples: Samples) -> dict[str, Rows]:
    frames: dict[str, Rows] = _constant(labels, samples) | {name: [] for name in PER_RUN}
    frames |= {"sample_results": samples.results, "maps": samples.maps}
    frames |= {"gallery": samples.gallery, "contact_sheet": samples.sheet}
    frames["decisions"] = _decisions(labels, runs, samples)
    for run_id, (backbone, strategy) in enumerate(runs, start=1):
        run = {"run_id": run_id, "backbone": backbone, "strategy": strategy, "batch_size": 16, "unit1_rate": 3e-4,
            "guidance": "none",
               "seed": 0}  # fmt: skip
        _training(frames, run)
        _classification(frames, samples, run, [label[0] for label in labels])
        _localization(frames, samples, run)
        _audits(frames, samples, run)
        frames["checkpoints"].append({"run_id": run_id, "epoch": 9, "sha256": "12" * 32, "bytes": 44_000_000})
    return frames


def _schema(rows: Rows) -> dict[str, Any]:
    kinds = pl.DataFrame(rows, infer_schema_length=None).schema
    return {name: pl.String if kind == pl.Null else kind for name, kind in kinds.items()}


def build(
    labels: tuple = LABELS,
    runs: tuple = RUNS,
    per_class: int = 12,
    seed: int = 0,
    skill: dict[int, float] | None = None,
    config: dict[str, Any] | None = None,
    size: int = SIZE,
) -> ReportData:
    """Report data of finished runs. `skill`: probability of a correct prediction by run."""
    frames = _frames(labels, runs, Samples(labels, runs, per_class, seed, skill or {}, size))
    full = _frames(LABELS, RUNS[:1], Samples(LABELS, RUNS[:1], 1, 0, {}, 24)) | RARE
    schemas = {name: _schema(rows) for name, rows in full.items()}
    tables = {name: pl.DataFrame(frames.get(name, []), schema=schema) for name, schema in schemas.items()}
    study = {
        "id": 1, "digest": "ab" * 32, "dataset_digest": "cd" * 32, "sample_set_digest": "ef" * 32, "name": "demo",
        "dataset_kind": "phantom", "dataset_name": "phantom", "config": config or demo().model_dump(mode="json"),
        "versions": {"lesionlens": "0.1.0", "torch": "2.14.1"}, "created_at": datetime(2026, 11, 23, 3, 50, tzinfo=UTC),
    }  # fmt: skip
    names = [*tables, "answers", "studies"]
    data = ReportData(study, tables, {name: f"SELECT * FROM {name}" for name in names})  # noqa: S608
    return with_answers(data)


def with_answers(data: ReportData) -> ReportData:
    """The data with the answers that follow from them, as a report stores them."""
    return replace(data, frames=data.frames | {"answers": answers(data)})


def rare(name: str) -> pl.DataFrame:
    """Rows of a frame that is empty in `build`."""
    return pl.DataFrame(RARE[name])
