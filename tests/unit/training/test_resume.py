"""A run stopped anywhere goes on from what the record knows and ends in the same bits."""

import hashlib
import json
import random
import resource
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import replace
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


SCRIPT = """
import json, sys
from dataclasses import asdict
from pathlib import Path
import numpy as np
import torch
from lesionlens.config import RunConfig, TrainingConfig
from lesionlens.records import Checkpoint, SampleArrays, Statistics
from lesionlens.training.fit import fit

torch.set_num_threads(1)
home = Path(sys.argv[1])
(home / "started").touch()  # importing torch is not worth killing
record = home / "record.json"
count = 32
labels = np.arange(count) % 5
pixels = np.random.default_rng(0).integers(0, 256, (count, 32, 32)).astype(np.uint8)
patches = SampleArrays(
    "0" * 64, tuple("abcde"), np.arange(count), pixels, np.zeros(pixels.shape, bool), labels,
    np.array(["train", "validation"])[np.arange(count) % 2], np.array(["p"] * count), labels > 0, tuple("abcde"),
    (Statistics(None, 0.5, 0.3),),
)
run = RunConfig(backbone="efficientnet_b0", strategy="gradual", batch_size=8, head_rate=1e-3, unit1_rate=1e-3)
training = TrainingConfig.model_validate({"weights": "none", "stopping": {"max_epochs": 4, "patience": 2}})
known = json.loads(record.read_text())["checkpoints"] if record.exists() else []
resume = tuple(Checkpoint(**each) for each in known)
for result in fit(run, training, patches, home / "run", home / "cache", "cpu", resume):
    new = home / "record.new"
    new.write_text(json.dumps(asdict(result)))
    new.replace(record)
(home / "done").touch()
"""


@pytest.mark.slow
def test_killed_at_random_moments(tmp_path: Path) -> None:
    """SIGKILL, again and again, against a record that is itself written atomically."""

    def start(home: Path) -> subprocess.Popen[bytes]:
        return subprocess.Popen([sys.executable, "-c", SCRIPT, str(home)], stderr=subprocess.PIPE)

    def wait_for(path: Path, before: bytes | None, process: subprocess.Popen[bytes]) -> None:
        """Until the file is there with another content; importing torch is not worth killing."""
        until = time.monotonic() + 60
        while process.poll() is None and time.monotonic() < until:
            if path.exists() and path.read_bytes() != before:
                return
            time.sleep(0.005)

    calm, wild = tmp_path / "calm", tmp_path / "wild"
    calm.mkdir()
    wild.mkdir()
    process = start(calm)
    assert process.wait(300) == 0, process.stderr.read().decode() if process.stderr else ""
    chance, ends_by = random.Random(0), list[int]()
    record = wild / "record.json"
    for kill in range(5):
        before = record.read_bytes() if record.exists() else None
        process = start(wild)
        # The first two die before an epoch is recorded, the others some time after the next one.
        wait_for(record if kill > 1 else wild / "started", before, process)
        time.sleep(chance.uniform(0.0, 0.2))
        process.send_signal(signal.SIGKILL)
        ends_by.append(process.wait())
        (wild / "started").unlink(missing_ok=True)
    assert ends_by.count(-signal.SIGKILL) > 2
    process = start(wild)
    assert process.wait(300) == 0, process.stderr.read().decode() if process.stderr else ""
    ends = [json.loads((home / "record.json").read_text()) | {"seconds": 0} for home in (calm, wild)]
    assert ends[0] == ends[1]
    assert {path.name for path in (calm / "run").iterdir()} == {path.name for path in (wild / "run").iterdir()}
