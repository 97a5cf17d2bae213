"""Checkpoints in a folder and at an S3-compatible server on this machine."""

import hashlib
import os
import resource
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from upath import UPath

from lesionlens.config.training import RunConfig, TrainingConfig
from lesionlens.errors import CheckpointError
from lesionlens.records import Checkpoint, SampleArrays
from lesionlens.settings import home
from lesionlens.training.checkpoints import (
    Position,
    Saved,
    checkpoint_folder,
    keep_only,
    load_model,
    read_checkpoint,
    size,
    slim,
    write_checkpoint,
)
from lesionlens.training.fit import fit
from lesionlens.training.strategies import Stopper

pytestmark = pytest.mark.usefixtures("thin")

Place = UPath | Path


@pytest.fixture(scope="module")
def bucket() -> Iterator[str]:
    """URL of an empty bucket; the server's address and keys are in the environment, as an operator would set them."""
    import boto3
    from moto.server import ThreadedMotoServer

    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    address = "http://{}:{}".format(*server.get_host_and_port())
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("AWS_ENDPOINT_URL", address)
        patch.setenv("AWS_ACCESS_KEY_ID", "key")
        patch.setenv("AWS_SECRET_ACCESS_KEY", "secret")
        patch.setenv("AWS_DEFAULT_REGION", "us-east-1")
        boto3.client("s3").create_bucket(Bucket="checkpoints")
        yield "s3://checkpoints/study"
    server.stop()


@pytest.fixture(params=["folder", "file URL", "s3"])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> Place:
    roots = {"folder": lambda: tmp_path / "runs", "file URL": lambda: f"file://{tmp_path}/runs"}
    root = roots.get(request.param, lambda: request.getfixturevalue("bucket") + f"/{tmp_path.name}")()
    return checkpoint_folder(root, "0123456789abcdef" + 48 * "f")


def saved(epoch: int = 1, width: int = 3) -> Saved:
    position = Position(2, epoch, Stopper(0.5, 0.6, 1, 2))
    moments = {0: {"step": torch.tensor(4.0), "exp_avg": torch.arange(4.0)}, 12: {"step": torch.tensor(5.0)}}
    return Saved("run", "samples", position, {"head.weight": torch.arange(width).float()}, moments)


def written(folder: Place, content: Saved) -> Checkpoint:
    return Checkpoint("last", 2, content.position.epoch, *write_checkpoint(folder, content))


def names(folder: Place) -> set[str]:
    return {path.name for path in folder.iterdir()}


def test_what_is_written_is_read_and_the_others_go(place: Place) -> None:
    assert size(place) == 0
    first, second = written(place, saved(1)), written(place, saved(2, width=1_500_000))
    for checkpoint, content in ((first, saved(1)), (second, saved(2, width=1_500_000))):
        found = read_checkpoint(place, checkpoint)
        assert (found.configuration, found.patches, found.position) == ("run", "samples", content.position)
        assert torch.equal(found.model["head.weight"], content.model["head.weight"])
        assert found.optimizer.keys() == content.optimizer.keys()
        assert torch.equal(found.optimizer[0]["exp_avg"], content.optimizer[0]["exp_avg"])
    assert size(place) == size(place.parent) == first.bytes + second.bytes > 6_000_000
    (place / f"0003-{'0' * 16}.safetensors.tmp").write_bytes(b"left by a killed write")
    (place / "notes").write_bytes(b"the user's")
    keep_only(place, [second.path])
    assert names(place) == {second.path, "notes"}
    keep_only(place, [second.path])
    with pytest.raises(CheckpointError, match="cannot be read"):
        read_checkpoint(place, first)


def test_a_slim_checkpoint_has_the_same_weights_and_no_moments(place: Place) -> None:
    whole = replace(written(place, saved(3, width=1000)), role="best")
    kept = slim(place, whole)
    assert (kept.role, kept.phase, kept.epoch) == ("best", 2, 3) and kept.bytes < whole.bytes
    before, after = read_checkpoint(place, whole), read_checkpoint(place, kept)
    assert after.optimizer == {} and before.optimizer
    assert (after.configuration, after.patches, after.position) == ("run", "samples", before.position)
    assert torch.equal(after.model["head.weight"], before.model["head.weight"])
    assert slim(place, kept) == kept


@pytest.mark.parametrize("damage", ["bit", "cut"])
def test_a_damaged_file_is_noticed(place: Place, damage: str) -> None:
    checkpoint = written(place, saved())
    data = bytearray((place / checkpoint.path).read_bytes())
    data[-3] ^= 1
    (place / checkpoint.path).write_bytes(bytes(data) if damage == "bit" else bytes(data[:-8]))
    with pytest.raises(CheckpointError, match="damaged"):
        read_checkpoint(place, checkpoint)


def test_the_record_knows_the_files_digest(tmp_path: Path) -> None:
    checkpoint = written(tmp_path, saved())
    data = (tmp_path / checkpoint.path).read_bytes()
    assert (hashlib.sha256(data).hexdigest(), len(data)) == (checkpoint.sha256, checkpoint.bytes)
    assert checkpoint.path == f"0001-{checkpoint.sha256[:16]}.safetensors"


@pytest.mark.skipif(not Path("/proc/self/fd").exists(), reason="names of open files are read from /proc")
def test_a_file_is_on_disk_before_it_has_its_name_and_so_are_its_folders(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    done: list[str] = []
    sync, rename = os.fsync, Path.replace
    monkeypatch.setattr(os, "fsync", lambda fd: (done.append(str(Path(f"/proc/self/fd/{fd}").readlink())), sync(fd)))
    monkeypatch.setattr(Path, "replace", lambda self, to: (done.append(f"rename to {to.name}"), rename(self, to)))
    folder = checkpoint_folder(tmp_path / "checkpoints", "run")
    name = written(folder, saved()).path
    above = [str(tmp_path), str(tmp_path / "checkpoints")]
    assert sorted(done[:2]) == above
    assert done[2:] == [str(folder / f"{name}.tmp"), f"rename to {name}", str(folder)]
    done.clear()
    name = written(folder, saved(2)).path
    assert done == [str(folder / f"{name}.tmp"), f"rename to {name}", str(folder)]


def test_a_write_that_fails_leaves_nothing(tmp_path: Path) -> None:
    kept = written(tmp_path, saved())
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1_000_000, before[1]))
    try:
        with pytest.raises(CheckpointError, match=r"epoch 2 \(6 MB\) could not be written.*File too large"):
            write_checkpoint(tmp_path, saved(2, width=1_500_000))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert names(tmp_path) == {kept.path}


def test_a_path_cannot_leave_the_folder(tmp_path: Path) -> None:
    best = written(tmp_path / "run", saved())
    with pytest.raises(CheckpointError, match="leaves its folder"):
        read_checkpoint(tmp_path / "other", replace(best, path=f"../run/{best.path}"))


def test_a_run_in_a_bucket_goes_on_after_a_stop(
    bucket: str,
    tmp_path: Path,
    make_patches: Callable[..., SampleArrays],
    make_run: Callable[..., RunConfig],
    make_training: Callable[..., TrainingConfig],
) -> None:
    patches, run, training = make_patches(), make_run(strategy="simultaneous"), make_training(epochs=2)
    alone = list(fit(run, training, patches, tmp_path / "alone", None, "cpu"))
    folder = checkpoint_folder(bucket, "stopped")
    first = next(iter(fit(run, training, patches, folder, None, "cpu")))
    rest = list(fit(run, training, patches, folder, None, "cpu", first.checkpoints))
    assert [epoch.validation_loss for epoch in (first, *rest)] == [epoch.validation_loss for epoch in alone]
    assert names(folder) == {checkpoint.path for checkpoint in rest[-1].checkpoints}
    load_model(run, training, patches.classes, folder, rest[-1].checkpoints[0])


def test_a_bucket_that_is_not_there_and_an_unknown_kind_of_place_are_named(bucket: str) -> None:
    with pytest.raises(CheckpointError, match="could not be written to s3://nowhere/study"):
        write_checkpoint(UPath("s3://nowhere/study"), saved())
    with pytest.raises(OSError, match="unknown://place"):
        checkpoint_folder("unknown://place", "run")
    with pytest.raises(OSError, match="unknown://place"):
        size("unknown://place")


def test_the_variable_names_a_folder_or_a_url(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("LESIONLENS_CHECKPOINTS", "s3://bucket/prefix")
    assert str(checkpoint_folder(home().checkpoints, "0" * 64)) == f"s3://bucket/prefix/{'0' * 16}"
    monkeypatch.setenv("LESIONLENS_CHECKPOINTS", str(tmp_path))
    assert checkpoint_folder(home().checkpoints, "0" * 64) == tmp_path / ("0" * 16)
