"""A run stopped anywhere goes on from what the record knows and ends in the same bits."""

import hashlib
import json
import os
import resource
import shutil
import signal
from collections.abc import Callable, Iterator
from dataclasses import asdict, replace
from itertools import count
from pathlib import Path
from types import MappingProxyType

import pytest

from lesionlens.config import RunConfig, TrainingConfig
from lesionlens.errors import CheckpointError
from lesionlens.records import Checkpoint, EpochResult, SampleArrays
from lesionlens.training import checkpoints as files
from lesionlens.training.fit import fit

EPOCHS = 6
Stream = Callable[[Path, tuple[Checkpoint, ...]], list[EpochResult]]


@pytest.fixture(scope="module")
def stream(
    tmp_path_factory: pytest.TempPathFactory,
    make_patches: Callable[..., SampleArrays],
    make_run: Callable[..., RunConfig],
    make_training: Callable[..., TrainingConfig],
) -> Callable[..., object]:
    """Three phases of two epochs of a network with random depth; features shared by all tests of this module."""
    cache, patches = tmp_path_factory.mktemp("cache"), make_patches(24)

    def start(folder: Path, resume: tuple[Checkpoint, ...] = (), seed: int = 0) -> object:
        run, training = make_run("efficientnet_b0", seed=seed), make_training(epochs=2)
        return fit(run, training, patches, folder, cache, "cpu", resume)

    return start


@pytest.fixture(scope="module")
def whole(stream: Callable[..., object], tmp_path_factory: pytest.TempPathFactory) -> MappingProxyType[int, object]:
    """Every epoch of an undisturbed run, without its duration."""
    results = stream(tmp_path_factory.mktemp("whole"))
    return MappingProxyType({each.epoch: replace(each, seconds=0.0) for each in results})  # type: ignore[attr-defined]


def rest(results: object) -> dict[int, EpochResult]:
    return {each.epoch: replace(each, seconds=0.0) for each in results}  # type: ignore[attr-defined]


@pytest.mark.parametrize("stopped", range(1, EPOCHS + 1))
def test_stopped_after_recording(stream, whole, stopped: int, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    run = stream(tmp_path)
    recorded = [next(run) for _ in range(stopped)][-1]
    run.close()
    again = rest(stream(tmp_path, recorded.checkpoints))
    assert again == {epoch: whole[epoch] for epoch in range(stopped + 1, EPOCHS + 1)}
    assert len(whole) == EPOCHS


@pytest.mark.parametrize("stopped", [2, 3, 4, 6])
def test_stopped_before_recording(stream, whole, stopped: int, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    """The last epoch's file is there, but the record knows only the one before."""
    run = stream(tmp_path)
    known = [next(run) for _ in range(stopped)][-2]
    run.close()
    again = rest(stream(tmp_path, known.checkpoints))
    assert again == {epoch: whole[epoch] for epoch in range(stopped, EPOCHS + 1)}
    kept = {each.path for each in whole[EPOCHS].checkpoints}
    assert {path.name for path in tmp_path.iterdir()} == kept


def test_a_damaged_last_checkpoint_falls_back_to_the_best(stream, whole, tmp_path: Path, caplog) -> None:  # type: ignore[no-untyped-def]
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
    again = rest(stream(tmp_path, (best, last)))
    assert again == {epoch: whole[epoch] for epoch in range(best.epoch + 1, EPOCHS + 1)}
    assert "damaged" in caplog.text and f"epoch {best.epoch}" in caplog.text


@pytest.mark.parametrize("damage", ["missing", "cut", "other run"])
def test_without_a_whole_best_checkpoint_it_starts_again(stream, whole, damage: str, tmp_path: Path, caplog) -> None:  # type: ignore[no-untyped-def]
    run = stream(tmp_path, seed=1 if damage == "other run" else 0)
    known = next(run)
    path = tmp_path / known.checkpoints[0].path
    if damage == "missing":
        path.unlink()
    elif damage == "cut":
        path.write_bytes(path.read_bytes()[:-1])
    assert rest(stream(tmp_path, known.checkpoints)) == whole
    assert "starts again" in caplog.text


def test_a_finished_run_yields_nothing(stream, whole, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    *_, last = stream(tmp_path)
    assert rest(stream(tmp_path, last.checkpoints)) == {}
    assert {path.name for path in tmp_path.iterdir()} == {each.path for each in last.checkpoints}


def test_what_the_record_refers_to_is_there_at_every_moment(stream, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    """Old files go only after the consumer asked for more, and at most three are there."""
    known: tuple[Checkpoint, ...] = ()
    for result in stream(tmp_path):
        for checkpoint in (*known, *result.checkpoints):
            data = (tmp_path / checkpoint.path).read_bytes()
            assert (hashlib.sha256(data).hexdigest(), len(data)) == (checkpoint.sha256, checkpoint.bytes)
        assert len(list(tmp_path.iterdir())) <= 3
        known = result.checkpoints


def test_a_path_cannot_leave_the_folder(stream, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    best = next(stream(tmp_path / "run")).checkpoints[0]
    with pytest.raises(CheckpointError, match="leaves its folder"):
        files.read_checkpoint(tmp_path / "other", replace(best, path=f"../run/{best.path}"))


def test_a_full_disk_is_said_harms_nothing_and_the_run_goes_on_later(stream, whole, tmp_path: Path, small_disk) -> None:  # type: ignore[no-untyped-def]
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
    again = rest(stream(tmp_path / "moved", known.checkpoints))
    assert again == {epoch: whole[epoch] for epoch in range(2, EPOCHS + 1)}


def test_a_limit_on_file_size_is_said(stream, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    run = stream(tmp_path)
    known = next(run)
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1_000_000, before[1]))
    try:
        with pytest.raises(CheckpointError, match=r"epoch 2 .* File too large"):
            next(run)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert {path.name for path in tmp_path.iterdir()} == {known.checkpoints[0].path}


def record_epochs(results: Iterator[EpochResult], record: Path) -> None:
    """Every epoch into a file that is itself written atomically."""
    for result in results:
        fresh = record.with_suffix(".new")
        fresh.write_text(json.dumps(asdict(result)))
        fresh.replace(record)


def killed(work: Callable[[], None], moment: int, after: bool) -> int:
    """The work in a process of its own, killed before or after it moves its `moment`-th file into place; its status."""
    child = os.fork()
    if child:
        return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    moves, move = count(1), Path.replace

    def last_move(path: Path, target: Path) -> Path:
        last = next(moves) == moment
        if not last or after:
            move(path, target)
        if last:
            os.kill(os.getpid(), signal.SIGKILL)
        return Path(target)

    Path.replace = last_move  # type: ignore[method-assign, assignment]
    try:
        work()
    finally:
        os._exit(0)


@pytest.mark.slow
def test_killed_between_any_two_files_it_ends_in_the_same_bits(
    make_patches: Callable[..., SampleArrays],
    make_run: Callable[..., RunConfig],
    make_training: Callable[..., TrainingConfig],
    tmp_path: Path,
) -> None:
    """SIGKILL, again and again: around features, around a checkpoint, between it and its record, after that."""
    arguments = make_run("efficientnet_b0", strategy="gradual"), make_training(epochs=2), make_patches(24)

    def start(home: Path) -> Callable[[], None]:
        home.mkdir(exist_ok=True)
        record = home / "record.json"
        known = json.loads(record.read_text())["checkpoints"] if record.exists() else []
        resume = tuple(Checkpoint(**found) for found in known)
        results = fit(*arguments, home / "run", home / "cache", "cpu", resume)
        return lambda: record_epochs(results, record)

    calm, wild = tmp_path / "calm", tmp_path / "wild"
    start(calm)()
    moments = ((1, False), (1, True), (2, False), (2, True), (3, True), (3, False), (4, True))
    assert [killed(start(wild), *moment) for moment in moments] == [-signal.SIGKILL] * len(moments)
    assert json.loads((wild / "record.json").read_text())["epoch"] < EPOCHS
    start(wild)()
    ends = [json.loads((home / "record.json").read_text()) | {"seconds": 0} for home in (calm, wild)]
    assert ends[0] == ends[1] and ends[0]["epoch"] == EPOCHS
    assert {path.name for path in (calm / "run").iterdir()} == {path.name for path in (wild / "run").iterdir()}
