"""A patch run at the films' scale knows lesions: its sweep marks them better than whatever is bright."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
import torch

from lesionlens.attribution.closed_form import fast
from lesionlens.attribution.scaling import upsampled
from lesionlens.attribution.sweep import PatchRun, sweep
from lesionlens.config.data import BackgroundConfig, DataConfig, ImageConfig, PatchConfig, PhantomConfig
from lesionlens.config.study import StudyConfig
from lesionlens.config.training import RunConfig, StoppingConfig, TrainingConfig
from lesionlens.datasets.registry import read_index
from lesionlens.detection.froc import froc_difference
from lesionlens.detection.marks import Lesions, peaks
from lesionlens.localization.baselines import blobs
from lesionlens.phantom.dataset import write_phantom
from lesionlens.records import Sample, SampleArrays
from lesionlens.samples.films.merging import sampled
from lesionlens.samples.normalise import GreyStatistics
from lesionlens.samples.sample_set import build_samples
from lesionlens.scoring.bootstrap import draw
from lesionlens.training.checkpoints import load_model
from lesionlens.training.fit import fit

pytestmark = pytest.mark.slow

PHANTOM = PhantomConfig(height=512, train_per_class=12, test_per_class=12, callback_free=60)
STUDY = StudyConfig(
    data=DataConfig(source="phantom", phantom=PHANTOM),
    images=ImageConfig(height=256, width=160),
    patches=PatchConfig(size=32, frame="image", copies=8),
    background=BackgroundConfig(size="matched", train=960, test=8, per_image=16),
    training=TrainingConfig(weights="none", stopping=StoppingConfig(patience=4, max_epochs=4)),
)
RUN = RunConfig(backbone="resnet18", strategy="simultaneous", batch_size=16, head_rate=1e-3, unit1_rate=3e-4)


def cut(study: StudyConfig, root: Path) -> tuple[SampleArrays, list[Sample]]:
    """The samples of a study as arrays, without a record."""
    index, statistics = read_index(study.data, root), GreyStatistics()
    found = [item for item in build_samples(index, root, study) if isinstance(item, Sample)]
    for item in found:
        statistics.add(item)
    labels = sampled(index, study).labels
    height, width, scale = study.sample_shape
    empty = np.zeros((height // scale, width // scale), dtype=np.bool_)
    codes = tuple(label.code for label in labels)
    breasts = np.stack([empty if item.breast is None else item.breast for item in found])
    return SampleArrays(
        digest="0" * 64, classes=codes, ids=np.arange(len(found)), pixels=np.stack([item.pixels for item in found]),
        masks=np.stack([empty if item.mask is None else item.mask for item in found]),
        labels=np.array([codes.index(item.label) for item in found]), splits=np.array([i.split for i in found]),
        patients=np.array([i.patient for i in found]), has_mask=np.array([i.mask is not None for i in found]),
        groups=tuple(label.group for label in labels), statistics=statistics.rows(),
        breasts=breasts if scale > 1 else None,
    ), found  # fmt: skip


def shown(films: Sequence[Sample]) -> Lesions:
    film = [n for n, each in enumerate(films) for _ in each.lesions]
    boxes = [lesion.box for each in films for lesion in each.lesions]
    return Lesions(np.array(film), np.array(boxes), np.zeros(len(film), dtype=np.int64))


def test_the_sweep_of_a_patch_run_marks_lesions_better_than_bright_blobs(tmp_path: Path) -> None:
    torch.set_num_threads(1)
    write_phantom(PHANTOM, tmp_path / "phantom")
    patches, _ = cut(STUDY, tmp_path / "phantom")
    films, drawn = cut(STUDY.model_copy(update={"unit": "image"}), tmp_path / "phantom")
    *_, last = fit(RUN, STUDY.training, patches, tmp_path / "run", None, "cpu")
    model = load_model(RUN, STUDY.training, patches.classes, tmp_path / "run", last.checkpoints[0])
    lesion = tuple(int(label) for label in np.unique(patches.labels[patches.has_mask]))
    run = PatchRun(fast(model, "block"), "train", patches.statistics, lesion, STUDY.patches.size)
    test, rows = films.split("test"), np.flatnonzero(films.splits == "test").tolist()
    lesions = shown([drawn[row] for row in rows])
    side = shown([each for each in drawn if each.split == "train"]).side()
    maps = upsampled(sweep(run, films, rows, torch.device("cpu")), test.masks.shape[1:])
    bright = peaks(blobs(test, side / 2 / films.scale), side, scale=films.scale)
    clusters = draw(test.patients, 1000, np.random.default_rng(0))
    found = froc_difference(peaks(maps, side, scale=films.scale), bright, lesions, clusters, 0.95, at=1.0)
    assert found.low > 0 and found.n > 100
    # of other films' maps nothing is left
    dealt = froc_difference(
        peaks(np.roll(maps, 7, axis=0), side, scale=films.scale), bright, lesions, clusters, 0.95, at=1.0
    )
    assert dealt.high < found.low
