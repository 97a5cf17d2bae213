"""Frames of the checks beside the scores, drawn from a synthetic record's samples."""

import itertools
from typing import Any

import numpy as np

EVIDENCE = (
    "roc_curve", "reliability_curve", "calibration", "binary_scores", "quadrants", "occlusion_test",
    "weight_randomisation", "shortcut_audit", "subgroup_scores", "seed_spread",
)  # fmt: skip
LAYERS = (None, "head", "unit1", "unit2", "stem")
Rows = list[dict[str, Any]]


def _around(value: float, half: float) -> dict[str, float]:
    return {"value": value, "low": max(value - half, 0.0), "high": min(value + half, 1.0)}


def add_evidence(frames: dict[str, Rows], lesions: Rows, samples: Rows, labels: tuple, key: dict, hyper: dict) -> None:
    """All checks of one run: `samples` are its patches, `lesions` those with an annotation."""
    _probabilities(frames, samples, labels, key)
    _quadrants(frames, lesions, labels, key)
    for group in ("all", *dict.fromkeys(label[2] for label in labels if label[3])):
        frames["occlusion_test"].append(key | {
            "population": "correct_lesions", "group_name": group, "n": len(lesions), "reason": None,
            "lesion_drop": 0.31, "lesion_drop_low": 0.22, "lesion_drop_high": 0.40,
            "control_drop": 0.02, "control_drop_low": -0.03, "control_drop_high": 0.06,
            "difference": 0.29, "difference_low": 0.20, "difference_high": 0.37,
        })  # fmt: skip
    for step, layer in enumerate(LAYERS):
        similar = 0.15 + 0.85 * 0.45**step
        frames["weight_randomisation"].append(key | {
            "step": step, "layer": layer, "ssim": similar, "ssim_low": similar - 0.04, "ssim_high": similar + 0.04,
            "ssim_chance": 0.21, "rank_correlation": similar - 0.1, "rank_low": similar - 0.15,
            "rank_high": similar - 0.05, "rank_chance": 0.02, "n": 32,
        })  # fmt: skip
    for level, share in (("0.00 to 0.05", 0.1), ("0.05 to 0.10", 0.3), ("0.10 to 0.20", 0.5)):
        of_level = key | {"subgroup": "mask_fraction", "level": level, "n": 12, "reason": None, "method": None}
        constant = {"whole_patch": share / 3, "centred_disc": share / 2, "mean_mask": share / 2, "random_weights": 0.05}
        constant |= {f"{name}_{end}": value * by for name, value in constant.items()
                     for end, by in (("low", 0.8), ("high", 1.2))}  # fmt: skip
        nothing = dict.fromkeys(constant)
        scores = {"name": "accuracy", "population": "all"}
        frames["subgroup_scores"].append(of_level | scores | nothing | _around(0.7, 0.1))
        scores = {"name": "ll", "population": "correct_lesions", "method": "grad_cam"}
        frames["subgroup_scores"].append(of_level | scores | constant | _around(share, 0.08))
    spread = {"target": None, "policy": None, "method": None, "population": "all", "group_name": "all"}
    frames["seed_spread"].append(key | hyper | spread | {
        "name": "accuracy", "seeds": 1, "mean": 0.7, "lowest": 0.7, "highest": 0.7,
    })  # fmt: skip


def _probabilities(frames: dict[str, Rows], samples: Rows, labels: tuple, key: dict) -> None:
    for ordinal, (code, *_) in enumerate(labels):
        for false_rate, true_rate in zip(np.linspace(0, 1, 9), np.linspace(0, 1, 9) ** 0.3, strict=True):
            frames["roc_curve"].append(key | {
                "ordinal": ordinal, "code": code, "threshold": 1 - float(false_rate),
                "false_positive_rate": float(false_rate), "true_positive_rate": float(true_rate),
            })  # fmt: skip
    for number in range(10):
        empty = number < 2
        frames["reliability_curve"].append(key | {
            "bin": number, "lower": number / 10, "upper": (number + 1) / 10, "n": 0 if empty else 3 * number,
            "confidence": None if empty else number / 10 + 0.05, "accuracy": None if empty else number / 11,
            "low": None if empty else number / 11 - 0.1, "high": None if empty else number / 11 + 0.1,
        })  # fmt: skip
    frames["calibration"].append(key | {"calibration_error": 0.08, "low": 0.05, "high": 0.12, "n": len(samples)})
    for side, score in itertools.product(("lesion", "malignant"), ("auc", "accuracy", "sensitivity", "specificity")):
        row = {"side": side, "score": score, "n": len(samples), "reason": None}
        frames["binary_scores"].append(key | row | _around(0.8, 0.06))


def _quadrants(frames: dict[str, Rows], lesions: Rows, labels: tuple, key: dict) -> None:
    classes = [(-1, "all"), *((o, code) for o, (code, _, _, lesion) in enumerate(labels) if lesion)]
    for (ordinal, code), correct, located in itertools.product(classes, (True, False), (True, False)):
        of_class = [row for row in lesions if code in ("all", row["true_code"])]
        inside = [row["sample_id"] for row in of_class if (row["correct"], row["hit"]) == (correct, located)]
        share = len(inside) / len(of_class) if of_class else None
        frames["quadrants"].append(key | {
            "ordinal": ordinal, "code": code, "correct": correct, "located": located, "n": len(inside),
            "lesions": len(of_class), "proportion": share, "low": share, "high": share, "sample_ids": inside,
        })  # fmt: skip


def add_shortcuts(frames: dict[str, Rows]) -> None:
    """The audit of the study's patches."""
    for features, accuracy in (
        ("majority", 0.2),
        ("size", 0.34),
        ("intensity", 0.41),
        ("sharpness", 0.3),
        ("all", 0.5),
    ):
        frames["shortcut_audit"].append({
            "study_id": 1, "study": "demo", "features": features, "accuracy": accuracy, "low": accuracy - 0.05,
            "high": accuracy + 0.05, "n": 60, "lowest_model_accuracy": 0.62, "highest_model_accuracy": 0.78,
        })  # fmt: skip
