"""What training shows beside samples: lesions in other surroundings, and variants; how an epoch draws them."""

from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from lesionlens.config.training import GuidanceConfig, RunConfig, StoppingConfig, TrainingConfig
from lesionlens.models.backbones import BACKBONES
from lesionlens.records import SampleArrays
from lesionlens.training import feature_cache
from lesionlens.training.augment import (
    COPIES,
    PICTURES,
    WAYS,
    draw_variants,
    drawn_rows,
    shown,
    surroundings_pairs,
    turned,
    with_surroundings,
)
from lesionlens.training.fit import fit
from lesionlens.training.guidance import guide
from lesionlens.training.inputs import Inputs

pytestmark = pytest.mark.usefixtures("thin")

CPU = torch.device("cpu")


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


def test_the_eight_ways_a_square_can_lie() -> None:
    square = torch.arange(9.0).reshape(1, 3, 3)
    lying = turned(square.expand(WAYS, 3, 3), torch.arange(WAYS))
    ways = {tuple(found.flatten().tolist()) for found in lying}
    assert len(ways) == 8 and torch.equal(lying[0], square[0])
    assert all(sorted(way) == sorted(square.flatten().tolist()) for way in ways)


def test_flips_show_each_way_of_a_training_sample_and_its_annotation_alike(patches: SampleArrays) -> None:
    """Exactly: no grey value is changed, and masks lie where the lesion, the brightest part, lies."""
    seen = shown(patches, "flips", 0)
    inputs, first = Inputs(patches, "train", CPU, seen.variants), len(patches.ids)
    rows = np.flatnonzero(patches.splits == "train")
    assert len(inputs) == first + 7 * len(rows) and set(seen.of) == set(rows)
    masks = torch.from_numpy(patches.masks)
    for row in rows[patches.has_mask[rows]][:3]:
        own = torch.tensor([row, *(first + np.flatnonzero(seen.of == row))])
        grey = inputs(own)[:, 0]
        assert {tuple(each.flatten().tolist()) for each in grey} == {
            tuple(each.flatten().tolist()) for each in turned(grey[:1].expand(8, -1, -1), torch.arange(8))
        }
        brightest = grey == grey.amax(dim=(1, 2), keepdim=True)
        assert torch.equal(seen.masks(masks, own), brightest) and torch.equal(seen.masks(masks, own[:1])[0], masks[row])
    assert torch.equal(seen.labels[first:], torch.from_numpy(patches.labels[seen.of]))


def test_patches_vary_in_place_and_tone_and_annotations_move_along(patches: SampleArrays) -> None:
    """Sixteen of every training sample, within the bounds of the augmentation; other samples are left alone."""
    variants = draw_variants(patches, "patch")
    assert variants is not None and len(variants.of) == COPIES["patch"] * int((patches.splits == "train").sum())
    inputs, first = Inputs(patches, "train", CPU, variants), len(patches.ids)
    plain = Inputs(patches, "train", CPU)
    assert torch.equal(inputs(range(first)), plain(range(first)))
    lesions = np.flatnonzero(patches.has_mask[variants.of])
    rows = torch.from_numpy(first + lesions)
    masks, grey = variants.masks(torch.from_numpy(patches.masks), rows), inputs(rows)[:, 0]
    own = torch.from_numpy(patches.masks[variants.of[lesions]])
    scale = masks.sum(dim=(1, 2)) / own.sum(dim=(1, 2))
    assert 0.5 < scale.min() < 0.85 and 1.15 < scale.max() < 1.8  # zoom 0.85 to 1.15 both ways, in whole pixels
    for mask, pixels in zip(masks, grey, strict=True):
        assert pixels[mask].mean() > pixels[~mask].mean() + 1.0
    before = plain(patches_of(variants.of[lesions]))[:, 0]
    added = grey.mean(dim=(1, 2)) - before.mean(dim=(1, 2))
    assert 0.1 < added.abs().max() < 0.6 and len(torch.unique(variants.ways[first:])) == WAYS
    ways, counts = np.unique(variants.ways[first:].numpy(), return_counts=True)
    assert len(set(counts)) == 1 and len(ways) == WAYS


def patches_of(rows: Iterable[int]) -> list[int]:
    return [int(row) for row in rows]


def test_an_epoch_shows_one_variant_of_every_sample(patches: SampleArrays) -> None:
    rows, first = np.flatnonzero(patches.splits == "train").tolist(), len(patches.ids)
    warped, flipped = shown(patches, "patch", 0), shown(patches, "flips", 0)
    drawn = np.array([warped.rows(rows, 0, epoch) for epoch in range(40)])
    assert (drawn >= first).all() and (warped.of[drawn - first] == rows).all() and len(np.unique(drawn[:, 0])) > 12
    assert (drawn != np.array([warped.rows(rows, 1, epoch) for epoch in range(40)])).any()
    as_it_is = np.mean(
        [row == at for epoch in range(60) for row, at in zip(flipped.rows(rows, 0, epoch), rows, strict=True)]
    )
    assert 0.09 < as_it_is < 0.16  # one in eight
    assert shown(patches, "none", 0).rows(rows, 0, 1) == rows


@pytest.mark.parametrize("name", ["resnet18", "vgg11_bn"])
def test_runs_of_a_grid_share_the_features_of_variants_and_resume_to_the_bit(
    name: str,
    tmp_path: Path,
    patches: SampleArrays,
    make_run: Callable[..., RunConfig],
    make_training: Callable[..., TrainingConfig],
) -> None:
    """A second seed with the same first weights stores nothing more; and what is stored is what is computed anew."""
    own = tmp_path / "own.safetensors"
    save_file({key: each.contiguous() for key, each in BACKBONES[name].make().state_dict().items()}, own)
    training = make_training(
        2, augment="patch", weights=str(own), stopping=StoppingConfig(max_epochs=2, keep="averaged")
    )
    results = {}
    for seed in (0, 1):
        run = make_run(name, "last_block", seed=seed)
        results[seed] = list(fit(run, training, patches, tmp_path / str(seed), tmp_path / "cache", "cpu"))
        assert len(list((tmp_path / "cache").rglob("*.npy"))) == 1
    assert results[0][0].train_loss != results[1][0].train_loss
    run = make_run(name, "last_block", seed=0)
    first = next(iter(fit(run, training, patches, tmp_path / "b", tmp_path / "cache", "cpu")))
    rest = fit(run, training, patches, tmp_path / "b", tmp_path / "cache", "cpu", first.checkpoints)
    assert [each.checkpoints[1].sha256 for each in (first, *rest)] == [
        each.checkpoints[1].sha256 for each in results[0]
    ]
    computed = list(fit(run, training, patches, tmp_path / "c", None, "cpu"))
    assert [each.train_loss for each in computed] == pytest.approx([each.train_loss for each in results[0]], rel=1e-3)


def test_too_many_features_are_computed_in_every_step_instead(
    tmp_path: Path,
    patches: SampleArrays,
    make_run: Callable[..., RunConfig],
    make_training: Callable[..., TrainingConfig],
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    run, training = make_run("resnet18", "simultaneous"), make_training(1, augment="flips")
    stored = next(iter(fit(run, training, patches, tmp_path / "a", tmp_path / "cache", "cpu")))
    kept = sum(path.stat().st_size for path in (tmp_path / "cache").rglob("*.npy"))
    monkeypatch.setattr(feature_cache, "VARIANTS_BYTES", kept - 200)  # less than the file without its header
    found = next(iter(fit(run, training, patches, tmp_path / "b", tmp_path / "other", "cpu")))
    assert not (tmp_path / "other").exists() and "features of all variants would take" in caplog.text
    assert found.train_loss == pytest.approx(stored.train_loss, rel=1e-3)
    monkeypatch.setattr(feature_cache, "VARIANTS_BYTES", kept)
    next(iter(fit(run, training, patches, tmp_path / "c", tmp_path / "other", "cpu")))
    assert (tmp_path / "other").exists()


def test_guidance_is_shown_the_annotation_of_the_variant(patches: SampleArrays) -> None:
    seen = shown(patches, "flips", 0)
    guided = guide(patches, GuidanceConfig(weight=1), 0, CPU, seen.variants)
    assert guided is not None
    first, row = len(patches.ids), int(np.flatnonzero(patches.has_mask & (patches.splits == "train"))[0])
    rows = torch.tensor([row, first + int(np.flatnonzero(seen.of == row)[0])])  # a quarter turn
    head = torch.tensor([[1.0], [-1.0]])
    there = torch.from_numpy(patches.masks[row]).float()[None, None]
    features = torch.cat([there, torch.rot90(there, 1, (2, 3))]) * 50
    term = guided.term(head, features, torch.zeros(2, dtype=torch.int64), rows)
    assert term == pytest.approx([0, 0], abs=1e-3)
    swapped = guided.term(head, features.flip(0), torch.zeros(2, dtype=torch.int64), rows)
    assert (swapped > 0.2).all()
