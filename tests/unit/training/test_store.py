"""Checkpoints in a folder and at an S3-compatible server on this machine."""

import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from lesionlens.config import RunConfig, TrainingConfig
from lesionlens.errors import CheckpointError
from lesionlens.records import SampleArrays
from lesionlens.settings import home
from lesionlens.training import store
from lesionlens.training.checkpoints import load_model, read_checkpoint
from lesionlens.training.fit import fit


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


@pytest.fixture(params=["folder", "s3"])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> store.Folder:
    return tmp_path / "run" if request.param == "folder" else request.getfixturevalue("bucket") + f"/{tmp_path.name}"


def test_what_is_written_is_read_and_listed(place: store.Folder) -> None:
    assert store.names(place) == []
    store.write(place, "a", b"first")
    store.write(place, "b", bytes(5_000_000))
    assert sorted(store.names(place)) == ["a", "b"]
    assert store.read(place, "a") == b"first"
    assert store.size(place) == 5_000_005
    store.remove(place, "a")
    store.remove(place, "a")
    assert store.names(place) == ["b"]
    with pytest.raises(OSError):
        store.read(place, "a")


@pytest.mark.skipif(not Path("/proc/self/fd").exists(), reason="names of open files are read from /proc")
def test_a_file_is_on_disk_before_it_has_its_name_and_so_are_its_folders(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    done: list[str] = []
    sync, replace = os.fsync, Path.replace
    monkeypatch.setattr(os, "fsync", lambda fd: (done.append(str(Path(f"/proc/self/fd/{fd}").readlink())), sync(fd)))
    monkeypatch.setattr(Path, "replace", lambda self, to: (done.append(f"rename to {to.name}"), replace(self, to)))
    folder = tmp_path / "checkpoints" / "run"
    store.write(folder, "a", b"first")
    above = [str(tmp_path), str(tmp_path / "checkpoints")]
    assert sorted(done[:2]) == above
    assert done[2:] == [str(folder / "a.tmp"), "rename to a", str(folder)]
    done.clear()
    store.write(folder, "b", b"second")
    assert done == [str(folder / "b.tmp"), "rename to b", str(folder)]


def test_a_stopped_run_goes_on_from_either(
    place: store.Folder,
    make_patches: Callable[..., SampleArrays],
    make_run: Callable[..., RunConfig],
    make_training: Callable[..., TrainingConfig],
) -> None:
    patches, run, training = make_patches(), make_run(strategy="simultaneous"), make_training(epochs=2)
    alone = list(fit(run, training, patches, store.beneath(place, "alone"), None, "cpu"))
    folder = store.beneath(place, "stopped")
    first = next(iter(fit(run, training, patches, folder, None, "cpu")))
    rest = list(fit(run, training, patches, folder, None, "cpu", first.checkpoints))
    assert [e.validation_loss for e in (first, *rest)] == [e.validation_loss for e in alone]
    kept = {checkpoint.path for checkpoint in rest[-1].checkpoints}
    assert set(store.names(folder)) == kept
    load_model(run, training, patches.classes, folder, rest[-1].checkpoints[0])
    lost = next(c for c in first.checkpoints if c.path not in kept)
    with pytest.raises(CheckpointError, match="cannot be read"):
        read_checkpoint(folder, lost)


def test_a_bucket_that_is_not_there_and_an_unknown_kind_of_place_are_named(bucket: str) -> None:
    with pytest.raises(OSError):
        store.write("s3://nowhere/study", "a", b"")
    with pytest.raises(OSError, match="unknown"):
        store.write("unknown://place", "a", b"")


def test_the_variable_names_a_folder_or_a_url(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("LESIONLENS_CHECKPOINTS", "s3://bucket/prefix")
    assert home().checkpoints == "s3://bucket/prefix"
    monkeypatch.setenv("LESIONLENS_CHECKPOINTS", str(tmp_path))
    assert home().checkpoints == tmp_path
