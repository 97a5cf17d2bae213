"""The instrument itself: it must tell a model that looks at the lesion from one that looks at a mark beside it.

Two phantom data sets, alike but for a bright cross beside every malignant finding of one. The same small network is
trained on each to tell malignant masses from background, and judged on the test part of its own data set. Measured
with these seeds, honest against cheating, 95 % intervals: LL 0.42 to 0.55 against 0.15 to 0.19, hit rate 0.61 to 0.89
against 0.07 to 0.27, what erasing the lesion takes more than erasing background 0.57 to 0.81 against -0.06 to 0.03;
accuracy 0.94 against 1.00.
"""

from pathlib import Path

import numpy as np
import polars as pl
import pytest
import torch

from lesionlens.config import (
    BackgroundConfig,
    DataConfig,
    EvaluationConfig,
    PatchConfig,
    PhantomConfig,
    RunConfig,
    StoppingConfig,
    StudyConfig,
    TrainingConfig,
)
from lesionlens.datasets.registry import read_index
from lesionlens.evaluate import EvaluationInputs, evaluate
from lesionlens.phantom.dataset import write_phantom
from lesionlens.records import Evaluation, Sample, SampleArrays, Statistics
from lesionlens.samples.sample_set import build_samples
from lesionlens.training.checkpoints import load_model
from lesionlens.training.fit import fit

pytestmark = pytest.mark.slow

CLASSES = ("B", "MM")
RUN = RunConfig(backbone="vgg11_bn", strategy="simultaneous", batch_size=16, head_rate=1e-3, unit1_rate=3e-4)
TRAINING = TrainingConfig(weights="none", stopping=StoppingConfig(patience=8, max_epochs=8))
EVALUATION = EvaluationConfig(randomisation_samples=0)


def study(confounder: float) -> StudyConfig:
    phantom = PhantomConfig(height=640, train_per_class=32, test_per_class=20, callback_free=40, confounder=confounder)
    return StudyConfig(
        data=DataConfig(source="phantom", phantom=phantom),
        patches=PatchConfig(size=96, jitter=0.5),  # the cross stays in the window up to this shift
        background=BackgroundConfig(size="matched", train=110, test=40, per_image=4),
    )


def patches_of(config: StudyConfig, root: Path) -> SampleArrays:
    """Background and malignant masses as arrays, grey statistics measured on the training split."""
    write_phantom(config.data.phantom, root)
    found = build_samples(read_index(config.data, root), root, config)
    kept = [item for item in found if isinstance(item, Sample) and item.label in CLASSES]
    size = config.patches.size
    pixels = np.stack([patch.pixels for patch in kept])
    parts = np.array([patch.split for patch in kept])
    grey = pixels[parts == "train"] / 255
    return SampleArrays(
        digest=root.name,
        classes=CLASSES,
        ids=np.arange(len(kept), dtype=np.int64),
        pixels=pixels,
        masks=np.stack([np.zeros((size, size), np.bool_) if p.mask is None else p.mask for p in kept]),
        labels=np.array([CLASSES.index(patch.label) for patch in kept], dtype=np.int64),
        splits=parts,
        patients=np.array([patch.patient for patch in kept]),
        has_mask=np.array([patch.mask is not None for patch in kept]),
        groups=("background", "mass"),
        statistics=(Statistics(None, float(grey.mean()), float(grey.std())),),
    )


def judged(confounder: float, folder: Path) -> Evaluation:
    """Train on the data with this confounder and evaluate on its test split."""
    patches = patches_of(study(confounder), folder / f"phantom-{confounder:g}")
    checkpoints = ()
    for epoch in fit(RUN, TRAINING, patches, folder / f"run-{confounder:g}", folder / "cache", "cpu"):
        checkpoints = epoch.checkpoints
    best = next(c for c in checkpoints if c.role == "best")
    model = load_model(RUN, TRAINING, CLASSES, folder / f"run-{confounder:g}", best)
    attributes = pl.DataFrame({"sample_id": patches.ids})
    given = EvaluationInputs(RUN, TRAINING, EVALUATION, patches, attributes, 0)
    return evaluate(model, given, "cpu", folder / "cache")


def score(evaluation: Evaluation, name: str, population: str = "lesions", **key: str) -> dict:
    rows = evaluation.frames["run_scores"].filter(name=name, population=population, group_name="all", **key)
    return rows.row(0, named=True)


def test_a_model_that_was_shown_a_shortcut_is_found_out(tmp_path: Path) -> None:
    torch.set_num_threads(1)
    clean, marked = judged(0.0, tmp_path), judged(1.0, tmp_path)
    # By accuracy alone the model that cheats is the better one.
    assert score(marked, "accuracy", "all")["value"] >= score(clean, "accuracy", "all")["value"] > 0.85
    maps = {"method": "grad_cam", "target": "predicted"}
    for name, key, gap in (
        ("ll", maps | {"policy": "validation"}, 0.15),
        ("hit_rate", maps, 0.2),
        ("pixel_ap", maps, 0.2),
        ("occlusion_lesion_drop", {}, 0.3),
        ("occlusion_difference", {}, 0.3),
    ):
        honest, cheating = score(clean, name, **key), score(marked, name, **key)
        assert honest["low"] - cheating["high"] > 0, (name, honest, cheating)
        assert honest["value"] - cheating["value"] > gap, (name, honest, cheating)
