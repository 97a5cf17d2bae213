"""The feature cache: what it holds, when it is built, and what a damaged file does."""

import multiprocessing
import os
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torchvision

from lesionlens.errors import TrainingError
from lesionlens.models.backbones import build
from lesionlens.models.classifier import Classifier, Level
from lesionlens.records import SampleArrays
from lesionlens.training import feature_cache
from lesionlens.training.feature_cache import FeatureCache
from lesionlens.training.inputs import Inputs

LEVELS: tuple[Level, ...] = ("stem", "unit2", "pooled")
Make = Callable[..., SampleArrays]


@pytest.fixture(scope="module")
def model() -> Classifier:
    return build("resnet18", 5, 0)


def inputs_of(patches: SampleArrays) -> Inputs:
    return Inputs(patches, "train", torch.device("cpu"))


def stored(folder: Path) -> dict[str, int]:
    """Inodes of the files by name."""
    return {path.name: path.stat().st_ino for path in (folder / "features").glob("*.npy")}


def test_rows_are_what_the_blocks_make_of_the_samples(tmp_path: Path, model: Classifier, make_patches: Make) -> None:
    inputs = inputs_of(make_patches())
    found = FeatureCache(tmp_path, inputs).get(model, LEVELS)
    with torch.no_grad():
        for level in LEVELS:
            assert found[level].shape[0] == len(inputs) and found[level].dtype == torch.float32
            torch.testing.assert_close(found[level], model.to_level(level, inputs(range(len(inputs)))))
    assert found["stem"][torch.tensor([5, 2, 9])].is_contiguous(memory_format=torch.channels_last)
    assert {parameter.is_contiguous() for parameter in model.parameters()} == {
        True
    }  # the caller's own is left as it was


def test_a_deeper_level_begins_with_what_is_stored_and_has_the_same_bits(
    tmp_path: Path, model: Classifier, make_patches: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    inputs = inputs_of(make_patches())
    whole = FeatureCache(tmp_path / "whole", inputs).get(model, ("unit1", "pooled"))
    FeatureCache(tmp_path / "parts", inputs).get(model, ("stem", "unit2"))
    monkeypatch.setattr(Inputs, "__call__", lambda *_: pytest.fail("pixels are read again"))
    parts = FeatureCache(tmp_path / "parts", inputs).get(model, ("unit1", "pooled"))
    assert all(torch.equal(parts[level], whole[level]) for level in ("unit1", "pooled"))


def test_an_evaluation_begins_with_the_deepest_level_that_is_stored(
    tmp_path: Path, model: Classifier, make_patches: Make
) -> None:
    """Of this model: where unit2 was trained, what other weights made of samples is no use."""
    cache = FeatureCache(tmp_path, inputs_of(make_patches()))
    assert cache.deepest(model).level == "stem"
    features = cache.get(model, ("unit2",))["unit2"]
    found = cache.deepest(model)
    assert found.level == "unit2" and torch.equal(found.features, features)
    other = build("resnet18", 5, 0)
    with torch.no_grad():
        next(other.unit2.parameters()).add_(1)
    assert cache.deepest(other).level == "stem"


def test_built_once_and_read_by_anyone(tmp_path: Path, model: Classifier, make_patches: Make) -> None:
    cache = FeatureCache(tmp_path, inputs_of(make_patches()))
    cache.get(model, LEVELS)
    before = stored(tmp_path)
    again = FeatureCache(tmp_path, inputs_of(make_patches())).get(model, ("stem",))["stem"]
    assert stored(tmp_path) == before and len(before) == 3
    (path,) = (tmp_path / "features").glob(f"{cache.key(model, 'stem')}-*.npy")
    assert np.array_equal(np.load(path), again.permute(0, 2, 3, 1).numpy())
    assert not list((tmp_path / "features").glob("*.tmp"))


def test_the_key_follows_everything_that_decides_the_values(
    tmp_path: Path, model: Classifier, make_patches: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    patches = make_patches()
    other_pixels = replace(patches, pixels=255 - patches.pixels)
    other_labels = replace(patches, labels=(patches.labels + 1) % 5)
    cpu = torch.device("cpu")

    def key(inputs: Inputs, network: Classifier = model, level: Level = "stem") -> str:
        return FeatureCache(tmp_path, inputs).key(network, level)

    plain = Inputs(patches, "train", cpu)
    changed = [
        key(plain),
        key(Inputs(other_pixels, "train", cpu)),
        key(Inputs(patches, "per_patch", cpu)),
        key(Inputs(patches, "per_class", cpu)),
        key(Inputs(other_labels, "per_class", cpu)),
        key(Inputs(patches.split("test"), "train", cpu)),
        key(plain, build("resnet18", 5, 1)),
        key(plain, build("resnet34", 5, 0)),
        key(plain, level="unit2"),
        key(Inputs(patches, "train", torch.device("meta"))),
    ]
    for library in (torch, torchvision):
        monkeypatch.setattr(library, "__version__", "0.0.1")
        changed.append(key(plain))
        monkeypatch.undo()
    monkeypatch.setattr(model, "backbone", "other")
    changed.append(key(plain))
    monkeypatch.undo()
    assert len(set(changed)) == len(changed)
    assert key(Inputs(other_labels, "train", cpu)) == key(plain)  # labels decide only what is normalised by class
    later = build("resnet18", 5, 0)
    with torch.no_grad():
        later.unit1[0].conv1.weight += 1  # type: ignore[index, union-attr]
    assert key(plain, later) == key(plain)


@pytest.mark.parametrize("damage", ["bit", "cut", "empty"])
def test_a_damaged_file_is_rebuilt(damage: str, tmp_path: Path, model: Classifier, make_patches: Make) -> None:
    cache = FeatureCache(tmp_path, inputs_of(make_patches()))
    expected = cache.get(model, ("unit2",))["unit2"].clone()
    (path,) = (tmp_path / "features").glob("*.npy")
    data = bytearray(path.read_bytes())
    data[-100] ^= 1
    path.write_bytes({"bit": bytes(data), "cut": bytes(data[:-8]), "empty": b""}[damage])
    assert torch.equal(cache.get(model, ("unit2",))["unit2"], expected)
    assert len(stored(tmp_path)) == 1


def aged(path: Path, seconds: int) -> None:
    os.utime(path, (time.time() - seconds, path.stat().st_mtime))


def test_the_folder_stays_within_its_bound_and_the_least_recently_used_goes_first(
    tmp_path: Path, model: Classifier, make_patches: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    caches = [FeatureCache(tmp_path, inputs_of(make_patches(seed=seed))) for seed in range(4)]
    files: list[Path] = []

    def get(number: int) -> None:
        caches[number].get(model, ("pooled",))
        files.extend(set((tmp_path / "features").glob("*.npy")) - set(files))

    for number in (0, 1):
        get(number)
        aged(files[number], 100 - number)
    get(0)  # used again: now the younger
    size = files[0].stat().st_size
    monkeypatch.setattr(feature_cache, "LIMIT_BYTES", 2 * size)
    get(2)
    assert set(stored(tmp_path)) == {files[0].name, files[2].name}
    monkeypatch.setattr(feature_cache, "LIMIT_BYTES", 2 * size - 200)
    aged(files[0], 100)
    get(3)
    assert set(stored(tmp_path)) == {files[3].name}


def test_what_is_in_use_stays_though_it_exceeds_the_bound(
    tmp_path: Path, model: Classifier, make_patches: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    cache = FeatureCache(tmp_path, inputs_of(make_patches()))
    monkeypatch.setattr(feature_cache, "LIMIT_BYTES", 1)
    cache.get(model, ("stem",))
    assert set(cache.get(model, LEVELS)) == set(LEVELS)
    assert len(stored(tmp_path)) == 3


def test_what_a_killed_process_left_makes_room_but_not_what_is_being_written(
    tmp_path: Path, model: Classifier, make_patches: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "features"
    folder.mkdir()
    for name, age in (("left", 2 * feature_cache.ABANDONED_SECONDS), ("written", 5)):
        (folder / f"{name}.tmp").write_bytes(b"half")
        os.utime(folder / f"{name}.tmp", (time.time() - age, time.time() - age))
    monkeypatch.setattr(feature_cache, "LIMIT_BYTES", 1)
    FeatureCache(tmp_path, inputs_of(make_patches())).get(model, ("pooled",))
    assert [path.name for path in folder.glob("*.tmp")] == ["written.tmp"]


def test_a_full_disk_makes_room_by_what_is_least_recently_used(
    small_disk: Callable[[int], Path], model: Classifier, make_patches: Make
) -> None:
    disk = small_disk(1200_000)
    caches = [FeatureCache(disk, inputs_of(make_patches(60, seed=seed))) for seed in range(3)]
    for age, cache in enumerate(caches):  # 81 x 2048 numbers: 0.66 MB each, so one fits, never two
        cache.get(model, ("stem",))
        aged(next((disk / "features").glob("*.npy")), 100 - age)
        assert len(stored(disk)) == 1
    with torch.no_grad():
        expected = model.to_level("stem", caches[2].inputs([0]))
    torch.testing.assert_close(caches[2].get(model, ("stem",))["stem"][:1], expected)


@pytest.mark.parametrize("noticed", ["before writing", "while writing"])
def test_a_disk_without_room_is_named_and_nothing_else_is_harmed(
    noticed: str,
    small_disk: Callable[[int], Path],
    model: Classifier,
    make_patches: Make,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    disk = small_disk(400_000)
    (disk / "features").mkdir()
    (disk / "other").write_bytes(b"x" * 1000)
    if noticed == "while writing":  # another process takes the room
        monkeypatch.setattr(FeatureCache, "_make_room", lambda *_: None)
    with pytest.raises(TrainingError, match=r"cannot be written.*(1 MB are needed|No space left).*Free disk space"):
        FeatureCache(disk, inputs_of(make_patches(60))).get(model, ("stem",))
    assert not stored(disk) and not list((disk / "features").glob("*.tmp"))
    assert (disk / "other").read_bytes() == b"x" * 1000


def test_two_that_want_the_same_build_it_once(
    tmp_path: Path, model: Classifier, make_patches: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Forked, so that both start at the same moment; every build leaves a mark."""
    cache = FeatureCache(tmp_path, inputs_of(make_patches()))
    build_features = FeatureCache._build

    def counted(self: FeatureCache, *given: Any) -> dict[Level, torch.Tensor]:
        (tmp_path / f"built by {os.getpid()}").touch()
        return build_features(self, *given)

    monkeypatch.setattr(FeatureCache, "_build", counted)
    context = multiprocessing.get_context("fork")
    processes = [context.Process(target=cache.get, args=(model, ("stem",))) for _ in range(3)]
    for process in processes:
        process.start()
    for process in processes:
        process.join(120)
        assert process.exitcode == 0
    assert len(list(tmp_path.glob("built by *"))) == 1
    assert len(stored(tmp_path)) == 1
