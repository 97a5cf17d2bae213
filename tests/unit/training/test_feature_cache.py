"""The feature cache: what it holds, when it is built, and what a damaged file does."""

import multiprocessing
import os
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch
import torchvision
from safetensors import safe_open

from lesionlens.config import TrainingConfig
from lesionlens.errors import TrainingError
from lesionlens.models.backbones import Classifier, Level, build
from lesionlens.records import SampleArrays
from lesionlens.training import feature_cache as features
from lesionlens.training import feature_files
from lesionlens.training.feature_cache import FeatureCache
from lesionlens.training.inputs import Inputs

LEVELS: tuple[Level, ...] = ("stem", "unit2", "pooled")
Make = Callable[..., SampleArrays]
MakeTraining = Callable[..., TrainingConfig]


@pytest.fixture(scope="module")
def model() -> Classifier:
    return build("resnet18", 5, 0)


@pytest.mark.parametrize("exact", [True, False])
def test_trained_layers_get_the_order_of_axes_they_are_fastest_in(
    exact: bool, tmp_path: Path, model: Classifier, make_patches: Make, make_training: MakeTraining
) -> None:
    found = FeatureCache(tmp_path, inputs_of(make_patches()), make_training(exact=exact)).get(model, LEVELS)
    batch = found["stem"][torch.tensor([5, 2, 9])]
    assert batch.is_contiguous(memory_format=torch.contiguous_format if exact else torch.channels_last)
    assert found["pooled"].shape == (len(make_patches().ids), 512)
    kept = {parameter.is_contiguous() for parameter in model.parameters()}
    assert kept == {True}  # the caller's own model is left as it was


def inputs_of(patches: SampleArrays) -> Inputs:
    return Inputs(patches, "train", torch.device("cpu"))


def stored(folder: Path) -> dict[str, int]:
    """Files by name, with the moment of their last change of content."""
    return {path.name: path.stat().st_ino for path in (folder / "features").glob("*.safetensors")}


def test_rows_are_what_the_stages_make_of_the_patches(
    tmp_path: Path, model: Classifier, make_patches: Make, make_training: MakeTraining
) -> None:
    inputs = inputs_of(make_patches())
    found = FeatureCache(tmp_path, inputs, make_training()).get(model, LEVELS)
    with torch.no_grad():
        for level in LEVELS:
            assert found[level].shape[0] == len(inputs)
            torch.testing.assert_close(found[level], model.to_level(level, inputs(range(len(inputs)))))


@pytest.mark.parametrize(("dtype", "tolerance"), [("float16", 2e-3), ("bfloat16", 2e-2)])
def test_smaller_storage(
    dtype: str, tolerance: float, tmp_path: Path, model: Classifier, make_patches: Make, make_training: MakeTraining
) -> None:
    inputs = inputs_of(make_patches())
    found = FeatureCache(tmp_path, inputs, make_training(feature_dtype=dtype)).get(model, ("stem",))["stem"]
    assert found.dtype == getattr(torch, dtype)
    with torch.no_grad():
        expected = model.to_level("stem", inputs(range(len(inputs))))
    torch.testing.assert_close(found.float(), expected, rtol=tolerance, atol=tolerance)


def test_built_once_and_read_by_anyone(
    tmp_path: Path, model: Classifier, make_patches: Make, make_training: MakeTraining
) -> None:
    cache = FeatureCache(tmp_path, inputs_of(make_patches()), make_training())
    cache.get(model, LEVELS)
    before = stored(tmp_path)
    again = FeatureCache(tmp_path, inputs_of(make_patches()), make_training()).get(model, ("stem",))["stem"]
    assert stored(tmp_path) == before and len(before) == 3
    path = tmp_path / "features" / f"{cache.key(model, 'stem')}.safetensors"
    with safe_open(path, framework="pt") as file:
        assert torch.equal(file.get_tensor("features").permute(0, 3, 1, 2), again)
    assert not list((tmp_path / "features").glob("*.tmp"))


def test_the_key_follows_everything_that_decides_the_values(
    tmp_path: Path, model: Classifier, make_patches: Make, make_training: MakeTraining, monkeypatch: pytest.MonkeyPatch
) -> None:
    patches = make_patches()
    other_pixels = replace(patches, pixels=255 - patches.pixels)
    other_labels = replace(patches, labels=(patches.labels + 1) % 5)
    cpu = torch.device("cpu")

    def key(inputs: Inputs, network: Classifier = model, level: Level = "stem", dtype: str = "float32") -> str:
        return FeatureCache(tmp_path, inputs, make_training(feature_dtype=dtype)).key(network, level)

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
        key(plain, dtype="float16"),
        FeatureCache(tmp_path, plain, make_training(exact=True)).key(model, "stem"),
        FeatureCache(tmp_path, Inputs(patches, "train", torch.device("meta")), make_training()).key(model, "stem"),
    ]
    for library in (torch, torchvision):
        monkeypatch.setattr(library, "__version__", "0.0.1")
        changed.append(key(plain))
        monkeypatch.undo()
    monkeypatch.setattr(model, "backbone", "other")
    changed.append(key(plain))
    monkeypatch.undo()
    assert len(set(changed)) == len(changed)
    assert key(Inputs(other_labels, "train", cpu)) == key(plain)  # the label leaks nothing where it is not asked for
    later = build("resnet18", 5, 0)
    with torch.no_grad():
        later.unit1[0].conv1.weight += 1  # type: ignore[index, union-attr]
    assert key(plain, later) == key(plain)


@pytest.mark.parametrize("damage", ["bit", "cut", "empty"])
def test_a_damaged_file_is_rebuilt(
    damage: str, tmp_path: Path, model: Classifier, make_patches: Make, make_training: MakeTraining
) -> None:
    cache = FeatureCache(tmp_path, inputs_of(make_patches()), make_training())
    expected = cache.get(model, ("unit2",))["unit2"].clone()
    path = tmp_path / "features" / f"{cache.key(model, 'unit2')}.safetensors"
    data = bytearray(path.read_bytes())
    data[-100] ^= 1
    path.write_bytes({"bit": bytes(data), "cut": bytes(data[:-8]), "empty": b""}[damage])
    assert torch.equal(cache.get(model, ("unit2",))["unit2"], expected)


def aged(path: Path, seconds: int) -> None:
    os.utime(path, (time.time() - seconds, path.stat().st_mtime))


def test_the_folder_stays_within_its_bound_and_the_least_recently_used_goes_first(
    tmp_path: Path, model: Classifier, make_patches: Make, make_training: MakeTraining, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "features"
    caches = [FeatureCache(tmp_path, inputs_of(make_patches(seed=seed)), make_training()) for seed in range(4)]
    names = [f"{cache.key(model, 'pooled')}.safetensors" for cache in caches]
    for age, cache in enumerate(caches[:2]):
        cache.get(model, ("pooled",))
        aged(folder / names[age], 100 - age)
    caches[0].get(model, ("pooled",))  # used again: now the younger
    size = (folder / names[0]).stat().st_size
    monkeypatch.setattr(features, "LIMIT_BYTES", 2 * size + feature_files.MOST_HEADER)
    caches[2].get(model, ("pooled",))
    assert set(stored(tmp_path)) == {names[0], names[2]}
    monkeypatch.setattr(features, "LIMIT_BYTES", 2 * size - 1)
    aged(folder / names[0], 100)
    caches[3].get(model, ("pooled",))
    assert set(stored(tmp_path)) == {names[3]} and caches[3].bytes() == size


def test_what_is_in_use_stays_though_it_exceeds_the_bound(
    tmp_path: Path, model: Classifier, make_patches: Make, make_training: MakeTraining, monkeypatch: pytest.MonkeyPatch
) -> None:
    cache = FeatureCache(tmp_path, inputs_of(make_patches()), make_training())
    monkeypatch.setattr(features, "LIMIT_BYTES", 1)
    assert set(cache.get(model, LEVELS)) == set(LEVELS)
    assert len(stored(tmp_path)) == 3


def test_what_a_killed_process_left_goes_but_not_what_is_being_written(
    tmp_path: Path, model: Classifier, make_patches: Make, make_training: MakeTraining
) -> None:
    folder = tmp_path / "features"
    folder.mkdir()
    for name, age in (("left", 2 * feature_files.ABANDONED_SECONDS), ("written", 5)):
        (folder / f"{name}.tmp").write_bytes(b"half")
        os.utime(folder / f"{name}.tmp", (time.time() - age, time.time() - age))
    FeatureCache(tmp_path, inputs_of(make_patches()), make_training()).get(model, ("pooled",))
    assert [path.name for path in folder.glob("*.tmp")] == ["written.tmp"]


def test_a_full_disk_makes_room_by_what_is_least_recently_used(
    small_disk: Callable[[int], Path], model: Classifier, make_patches: Make, make_training: MakeTraining
) -> None:
    disk = small_disk(1200_000)
    caches = [FeatureCache(disk, inputs_of(make_patches(60, seed=seed)), make_training()) for seed in range(4)]
    for age, cache in enumerate(caches[:3]):  # 81 x 2048 numbers: 0.66 MB each, so one fits, never two
        cache.get(model, ("stem",))
        aged(next((disk / "features").glob("*.safetensors")), 100 - age)
        assert len(stored(disk)) == 1
    with torch.no_grad():
        expected = model.to_level("stem", caches[2].inputs([0]))
    torch.testing.assert_close(caches[2].get(model, ("stem",))["stem"][:1], expected)


def test_a_disk_without_room_is_said_and_nothing_else_is_harmed(
    small_disk: Callable[[int], Path], model: Classifier, make_patches: Make, make_training: MakeTraining
) -> None:
    disk = small_disk(400_000)
    (disk / "features").mkdir()
    (disk / "other").write_bytes(b"x" * 1000)
    with pytest.raises(TrainingError, match=r"cannot be written.*MB are needed.*No space left.*Free disk space"):
        FeatureCache(disk, inputs_of(make_patches(60)), make_training()).get(model, ("stem",))
    assert not stored(disk) and not list((disk / "features").glob("*.tmp"))
    assert (disk / "other").read_bytes() == b"x" * 1000


def test_two_that_want_the_same_build_it_once(
    tmp_path: Path, model: Classifier, make_patches: Make, make_training: MakeTraining, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Forked, so that both start at the same moment; every build leaves a mark."""
    cache = FeatureCache(tmp_path, inputs_of(make_patches()), make_training())
    build_features = FeatureCache._build

    def counted(self: FeatureCache, network: Classifier, names: dict[Level, str], kept: set[str]) -> None:
        (tmp_path / f"built by {os.getpid()}").touch()
        build_features(self, network, names, kept)

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
