"""A run stopped anywhere goes on from the record and ends in the same bits."""

import json
import multiprocessing
import os
import shutil
import signal
from collections.abc import Callable, Iterator
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import pytest
import torch

from lesionlens.config.training import RunConfig, TrainingConfig
from lesionlens.errors import CheckpointError
from lesionlens.records import Checkpoint, EpochResult, SampleArrays
from lesionlens.training import checkpoints, feature_cache
from lesionlens.training import fit as fit_module
from lesionlens.training.fit import fit

pytestmark = pytest.mark.usefixtures("thin")

EPOCHS = 6
Stream = Callable[..., Iterator[EpochResult]]
Epochs = dict[int, EpochResult]


@pytest.fixture(scope="module")
def stream(
    tmp_path_factory: pytest.TempPathFactory,
    make_patches: Callable[..., SampleArrays],
    make_run: Callable[..., RunConfig],
    make_training: Callable[..., TrainingConfig],
) -> Stream:
    """Three phases of two epochs of a network with random depth; features shared by the tests of this module."""
    shared, patches = tmp_path_factory.mktemp("cache"), make_patches(24)

    def start(
        folder: Path, resume: tuple[Checkpoint, ...] = (), seed: int = 0, cache: Path = shared
    ) -> Iterator[EpochResult]:
        run, training = make_run("efficientnet_b0", seed=seed), make_training(epochs=2)
        return fit(run, training, patches, folder, cache, "cpu", resume)

    return start


@pytest.fixture(scope="module")
def whole(stream: Stream, tmp_path_factory: pytest.TempPathFactory) -> Epochs:
    """Every epoch of an undisturbed run, without its duration."""
    return untimed(stream(tmp_path_factory.mktemp("whole")))


def untimed(results: Iterator[EpochResult]) -> Epochs:
    return {result.epoch: replace(result, seconds=0.0) for result in results}


def after(epoch: int, whole: Epochs) -> Epochs:
    return {number: result for number, result in whole.items() if number > epoch}


@pytest.mark.parametrize("stopped", [1, 2, 4, EPOCHS])
def test_stopped_after_recording(stream: Stream, whole: Epochs, stopped: int, tmp_path: Path) -> None:
    run = stream(tmp_path)
    recorded = [next(run) for _ in range(stopped)][-1]
    run.close()
    assert len(whole) == EPOCHS
    assert untimed(stream(tmp_path, recorded.checkpoints)) == after(stopped, whole)
    kept = {checkpoint.path for checkpoint in whole[EPOCHS].checkpoints}
    assert {path.name for path in tmp_path.iterdir()} == kept


@pytest.mark.parametrize("stopped", [3, EPOCHS])
def test_stopped_before_recording(stream: Stream, whole: Epochs, stopped: int, tmp_path: Path) -> None:
    """The last epoch's file is there, but the record has only the one before."""
    run = stream(tmp_path)
    known = [next(run) for _ in range(stopped)][-2]
    run.close()
    assert untimed(stream(tmp_path, known.checkpoints)) == after(stopped - 1, whole)
    kept = {checkpoint.path for checkpoint in whole[EPOCHS].checkpoints}
    assert {path.name for path in tmp_path.iterdir()} == kept


def test_a_damaged_last_checkpoint_falls_back_to_the_best(
    stream: Stream, whole: Epochs, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    run = stream(tmp_path)
    for known in run:
        best, last = known.checkpoints
        if best.path != last.path:
            break
    else:
        pytest.fail("this run improves in every epoch: choose another seed for the test")
    path = tmp_path / last.path
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)
    assert untimed(stream(tmp_path, (best, last))) == after(best.epoch, whole)
    assert "damaged" in caplog.text and f"epoch {best.epoch}" in caplog.text


@pytest.mark.parametrize("damage", ["missing", "cut", "other run"])
def test_without_a_whole_best_checkpoint_it_starts_again(
    stream: Stream, whole: Epochs, damage: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    run = stream(tmp_path, seed=1 if damage == "other run" else 0)
    known = next(run)
    path = tmp_path / known.checkpoints[0].path
    if damage == "missing":
        path.unlink()
    elif damage == "cut":
        path.write_bytes(path.read_bytes()[:-1])
    first = next(stream(tmp_path, known.checkpoints))
    assert replace(first, seconds=0.0) == whole[1]
    assert "starts again" in caplog.text


def test_a_finished_run_kept_slim_is_trained_again_to_the_same_bits(
    stream: Stream, whole: Epochs, tmp_path: Path
) -> None:
    """As where its evaluation refuses the file: without moments it could only go on otherwise."""
    for result in stream(tmp_path):
        best = result.checkpoints[0]
    slim = checkpoints.slim(tmp_path, best)
    assert slim.bytes < best.bytes
    assert untimed(stream(tmp_path, (slim,))) == whole


def test_what_the_record_refers_to_is_there_at_every_moment(stream: Stream, tmp_path: Path) -> None:
    """Old files go only after the consumer asked for more, and at most three are there."""
    known: tuple[Checkpoint, ...] = ()
    for result in stream(tmp_path):
        for checkpoint in (*known, *result.checkpoints):
            checkpoints.read_checkpoint(tmp_path, checkpoint)
        assert len(list(tmp_path.iterdir())) <= 3
        known = result.checkpoints


def test_a_full_disk_is_named_harms_nothing_and_the_run_goes_on_later(
    stream: Stream, whole: Epochs, tmp_path: Path, small_disk: Callable[[int], Path]
) -> None:
    """A real file system that has room for one checkpoint only."""
    disk = small_disk(30_000_000)
    (disk / "other run").mkdir()
    (disk / "other run" / "kept.safetensors").write_bytes(b"x" * 1000)
    run = stream(disk / "run")
    known = next(run)
    assert known.checkpoints[0].bytes < 30_000_000 < 2 * known.checkpoints[0].bytes
    with pytest.raises(
        CheckpointError, match=r"epoch 2 \(\d+ MB\) could not be written.*No space left.*Free disk space"
    ):
        next(run)
    assert {path.name for path in (disk / "run").iterdir()} == {known.checkpoints[0].path}
    assert (disk / "other run" / "kept.safetensors").read_bytes() == b"x" * 1000
    shutil.copytree(disk / "run", tmp_path / "moved")
    second = next(stream(tmp_path / "moved", known.checkpoints))
    assert replace(second, seconds=0.0) == whole[2]


KILLS: tuple[tuple[Any, str, int, int], ...] = (
    (feature_cache.FeatureCache, "_make_room", 1, 0),  # files of the feature cache opened, nothing in them
    (os, "fsync", 4, 1),  # a checkpoint written, under its temporary name
    (checkpoints, "_sync", 1, 1),  # a checkpoint under its name, not recorded
    (fit_module, "validate", 2, 2),  # an epoch trained, no checkpoint of it
    (checkpoints, "keep_only", 1, 3),  # recorded, the files before it not deleted
    (Path, "unlink", 2, 4),  # some of the files before it deleted
)
"""A function, the number of the call in which the process dies, and the last epoch in the record by then."""


def recorded(home: Path) -> dict[str, Any]:
    record = home / "record.json"
    return json.loads(record.read_text()) if record.exists() else {"epoch": 0, "checkpoints": []}  # type: ignore[no-any-return]


def run_to_the_end(stream: Stream, home: Path, kill: tuple[Any, str, int, int] | None) -> None:
    """In a process of its own: the run from its record, which is itself written atomically; killed where asked."""
    if kill is not None:
        place, name, number, _ = kill
        function, calls = getattr(place, name), []

        def die(*given: Any, **named: Any) -> Any:
            calls.append(1)
            if len(calls) == number:
                os.kill(os.getpid(), signal.SIGKILL)
            return function(*given, **named)

        setattr(place, name, die)
    known = tuple(Checkpoint(**found) for found in recorded(home)["checkpoints"])
    for result in stream(home / "run", known, cache=home / "cache"):
        (home / "record.new").write_text(json.dumps(asdict(replace(result, seconds=0.0))))
        (home / "record.new").replace(home / "record.json")


@pytest.mark.skipif(torch.cuda.is_available(), reason="autograd cannot be forked once it has a GPU's threads")
def test_killed_again_and_again(stream: Stream, whole: Epochs, tmp_path: Path) -> None:
    """SIGKILL at six events, one after the other, then to the end: the same bits."""
    for kill in (*KILLS, None):
        process = multiprocessing.get_context("fork").Process(target=run_to_the_end, args=(stream, tmp_path, kill))
        process.start()
        process.join(300)
        ended = process.exitcode, recorded(tmp_path)["epoch"]
        assert ended == ((0, EPOCHS) if kill is None else (-signal.SIGKILL, kill[3])), kill
    last = whole[EPOCHS]
    assert recorded(tmp_path) == json.loads(json.dumps(asdict(last)))
    assert {path.name for path in (tmp_path / "run").iterdir()} == {found.path for found in last.checkpoints}
    assert not list((tmp_path / "cache").rglob("*.tmp"))
