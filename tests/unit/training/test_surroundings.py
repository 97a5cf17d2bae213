"""Lesions in other training patients' surroundings: whose, how pasted, and how an epoch draws them."""

from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from lesionlens.config.training import RunConfig, TrainingConfig
from lesionlens.records import SampleArrays
from lesionlens.training.fit import fit
from lesionlens.training.surroundings import PICTURES, drawn_rows, surroundings_pairs, with_surroundings


@pytest.fixture
def patches(make_patches: Callable[..., SampleArrays]) -> SampleArrays:
    """Every patient has a grey of their own, and a bright lesion of another; sixteen patients, every fifth in test."""
    found = make_patches(48, 16)
    number = np.arange(len(found.ids)) % 16
    side = found.masks.shape[1]
    masks = np.zeros_like(found.masks)
    masks[:, side // 4 : side // 2, side // 3 : side // 2] = True
    masks &= found.has_mask[:, None, None]
    grey = (10 + number).astype(np.uint8)[:, None, None]
    pixels = np.where(masks, grey + 100, np.broadcast_to(grey, masks.shape)).astype(np.uint8)
    splits = np.where(number % 5 == 0, "test", np.where(number % 5 == 1, "validation", "train"))
    return replace(found, masks=masks, pixels=pixels, splits=splits, patients=number.astype(np.str_))


def test_no_patient_of_validation_or_test_enters_and_classes_of_surroundings_are_even(patches: SampleArrays) -> None:
    pairs = surroundings_pairs(patches, patches.masks, 0)
    assert len(pairs) == PICTURES * int((patches.has_mask & (patches.splits == "train")).sum())
    assert set(patches.splits[pairs].ravel()) == {"train"}
    assert (patches.patients[pairs[:, 0]] != patches.patients[pairs[:, 1]]).all()
    for row in np.unique(pairs[:, 0]):
        counts = Counter(patches.labels[pairs[pairs[:, 0] == row, 1]].tolist())
        assert max(counts.values()) == 1
    assert (surroundings_pairs(patches, patches.masks, 0) == pairs).all()
    assert (surroundings_pairs(patches, patches.masks, 1) != pairs).any()


def test_pictures_hold_the_lesion_and_only_the_tissue_of_another_training_patient(patches: SampleArrays) -> None:
    seen, of = with_surroundings(patches, 0)
    first = len(patches.ids)
    assert (seen.pixels[:first] == patches.pixels).all() and len(seen.ids) == first + len(of)
    training = set((10 + patches.patients[patches.splits == "train"].astype(int)).tolist())
    for picture, lesion in enumerate(of, start=first):
        own = int(patches.patients[lesion]) + 10
        middle = seen.pixels[picture][seen.masks[picture]]
        corner = int(seen.pixels[picture, 0, 0])
        assert own + 100 == int(np.median(middle)) and corner in training - {own}
        assert seen.labels[picture] == patches.labels[lesion] and seen.splits[picture] == "train"
        assert 0.5 < seen.masks[picture].sum() / patches.masks[lesion].sum() < 2


def test_epochs_show_every_sample_once_half_of_them_as_pictures(patches: SampleArrays) -> None:
    seen, of = with_surroundings(patches, 0)
    first, rows = len(patches.ids), np.flatnonzero(patches.splits == "train").tolist()
    drawn = np.array([drawn_rows(rows, of, first, 0, epoch) for epoch in range(40)])
    shown = np.where(drawn >= first, of[np.maximum(drawn - first, 0)], drawn)
    assert (shown == rows).all()
    lesions = patches.has_mask[rows]
    assert not (drawn[:, ~lesions] >= first).any() and 0.4 < (drawn[:, lesions] >= first).mean() < 0.6
    assert drawn_rows(rows, of, first, 0, 3) == drawn[3].tolist() and seen.splits[drawn.ravel()].tolist().count("train")


def test_such_a_run_resumes_to_the_bit_with_stored_features(
    tmp_path: Path,
    patches: SampleArrays,
    make_run: Callable[..., RunConfig],
    make_training: Callable[..., TrainingConfig],
) -> None:
    run, training = make_run("resnet18", "simultaneous"), make_training(3, augment="surroundings")
    whole = list(fit(run, training, patches, tmp_path / "a", tmp_path / "cache", "cpu"))
    first = next(iter(fit(run, training, patches, tmp_path / "b", tmp_path / "cache", "cpu")))
    rest = fit(run, training, patches, tmp_path / "b", tmp_path / "cache", "cpu", first.checkpoints)
    assert [each.train_loss for each in (first, *rest)] == [each.train_loss for each in whole]
    plain = next(iter(fit(run, make_training(3), patches, tmp_path / "c", tmp_path / "cache", "cpu")))
    assert plain.train_loss != whole[0].train_loss
