"""Scaling: a study's runs on 1, 2, 4 and 8 machines, with sleep in place of computing and everything else real.

    python -m benchmarks.scaling            200 runs of 0.6 s each on 1, 2, 4, 8 machines: about 8 minutes
    python -m benchmarks.scaling --small    12 runs on 1 and 2 machines: about a minute

A machine is a process that runs the train step of the same study, as the same command on several machines does, with a
device of its own. Flow runs, tasks, locks, epochs in the record and checkpoint files are those of a study. What is
measured, from the record: the span from the first run's start to the last one's end. Overhead per run is what one
machine spends on a run beyond its sleep. Starting (Python, torch, Prefect) is paid once per machine, not per run.
"""

import argparse
import hashlib
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import Any
from unittest.mock import patch

import numpy as np

from flows import server
from lesionlens.config.data import DataConfig, PhantomConfig
from lesionlens.config.study import StudyConfig
from lesionlens.config.training import GridConfig, HyperSet, RunConfig, TrainingConfig
from lesionlens.identity import digest
from lesionlens.records import Box, Checkpoint, DatasetIndex, EpochResult, Image, Label, Lesion, Sample, Statistics
from lesionlens.settings import Home, home
from lesionlens.training.checkpoints import keep_only
from tests.record.makers import save_samples

ROOT = Path(__file__).resolve().parents[1]
EPOCHS = 2
SECONDS = 0.3
"""What one epoch sleeps."""
BYTES = 1_000_000
"""Size of a checkpoint."""
LABELS = (Label("B", "background", "background", 0, False), Label("MM", "malignant mass", "mass", 1, True))
STUDY = "SELECT run.started_at, run.finished_at FROM run JOIN study_run ON run_id = run.id WHERE study_id = %s"


def main() -> None:
    """Measure and print a table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--small", action="store_true", help="a try in about a minute")
    parser.add_argument("--machine", type=int, metavar="STUDY", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.machine is not None:
        _work(options.machine)
        return
    machines, runs = ((1, 2), 12) if options.small else ((1, 2, 4, 8), 200)
    with tempfile.TemporaryDirectory(prefix="scaling.") as folder:
        os.environ |= {"LESIONLENS_HOME": folder, "PREFECT_LOGGING_LEVEL": "WARNING", "OMP_NUM_THREADS": "1"}
        try:
            with server.running_server(home().ensure()):
                print("| machines | runs | start to end, s | first run to last, s | sleep, s | overhead per run, ms |")
                print("|---|---|---|---|---|---|", flush=True)
                for number, count in enumerate(machines):
                    print(_measure(count, runs, number), flush=True)
        finally:
            _stop_record(home())


def _measure(machines: int, runs: int, number: int) -> str:
    """One line of the table."""
    study_id = _plan(_config(runs, 10_000 * number, machines))
    begun = time.monotonic()
    command = [sys.executable, "-m", "benchmarks.scaling", "--machine", str(study_id)]
    processes = [subprocess.Popen(command, cwd=ROOT, stderr=subprocess.DEVNULL) for _ in range(machines)]
    ended = [process.wait() for process in processes]
    whole = time.monotonic() - begun
    times = list(_times(study_id))
    assert len(times) == runs and not any(ended), "not every run is finished"
    span = (max(end for _, end in times) - min(start for start, _ in times)).total_seconds()
    sleep = runs * EPOCHS * SECONDS / machines
    overhead = 1000 * (span - sleep) * machines / runs
    return f"| {machines} | {runs} | {whole:.1f} | {span:.1f} | {sleep:.1f} | {overhead:.0f} |"


def _work(study_id: int) -> None:
    """A machine: the train step with networks that sleep, on a device that no other machine has."""
    with server.running_server(home()):
        from prefect import flow

        from tasks import grid, train

        @flow(name="simulated training")
        def simulated() -> None:
            grid.complete("train", study_id)

        with patch.object(train, "fit", _sleep), patch.object(train, "device_name", lambda _: f"CPU {os.getpid()}"):
            simulated()


def _sleep(run: RunConfig, training: object, samples: object, folder: Path, *rest: Any) -> Iterator[EpochResult]:
    for epoch in range(1, EPOCHS + 1):
        time.sleep(SECONDS)
        data = os.urandom(BYTES)
        sha256 = hashlib.sha256(data).hexdigest()
        name = f"{epoch:04d}-{sha256[:16]}.safetensors"
        folder.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(data)
        found = tuple(Checkpoint(role, 1, epoch, name, sha256, BYTES) for role in ("best", "last"))
        yield EpochResult(1, epoch, 1.0, 1.0, 0.5, SECONDS, {"head": run.head_rate}, True, found)
        keep_only(folder, [name])


def _config(runs: int, first: int, machines: int) -> StudyConfig:
    return StudyConfig(
        name=f"{machines} machines",
        data=DataConfig(source="phantom", phantom=PhantomConfig()),
        training=TrainingConfig(weights="none"),
        grid=GridConfig(
            backbones=("resnet18",), strategies=("simultaneous",), sets=(HyperSet(),),
            seeds=tuple(range(first, first + runs)),
        ),
    )  # fmt: skip


def _plan(config: StudyConfig) -> int:
    """Enter a sample set of noise and the study's runs."""
    from db import studies
    from db.engine import make_engine

    random = np.random.default_rng(0)
    splits = ("train",) * 16 + ("validation",) * 8
    images = tuple(Image(f"image {n}", f"P_{n:05d}", f"{n}.jpg") for n in range(24))
    lesions = tuple(Lesion(f"lesion {n}", f"image {n}", "mass", "MALIGNANT", "MM", None) for n in range(1, 24, 2))
    samples = [_sample(n, split, random) for n, split in enumerate(splits)]
    index = DatasetIndex("noise", "phantom", digest("noise"), LABELS, images, lesions)
    with make_engine().begin() as connection:
        grey = [Statistics(None, 0.5, 0.3)]
        sample_set = save_samples(connection, index, digest("noise samples"), 32, samples, statistics=grey)
        entered = config.model_dump(mode="json")
        study = studies.save_study(connection, digest(entered), config.name, entered, digest("e"), sample_set, {})
        for run in config.grid.runs():
            studies.save_run(connection, study, digest(run), sample_set, run, config.training, config.grid.title(run))
    return study


def _sample(n: int, split: Any, random: np.random.Generator) -> Sample:
    lesion = n % 2 == 1
    return Sample(
        f"sample {n}", LABELS[n % 2].code, f"image {n}", f"lesion {n}" if lesion else None, f"P_{n:05d}", split,
        Box(0, 0, 32, 32), Box(8, 8, 24, 24) if lesion else None, 0.25 if lesion else None,
        random.integers(0, 256, (32, 32), dtype=np.uint8), np.eye(32, dtype=bool) if lesion else None,
    )  # fmt: skip


def _times(study_id: int) -> Iterator[tuple[datetime, datetime]]:
    from db.engine import make_engine

    with make_engine().connect() as connection:
        for start, end in connection.exec_driver_sql(STUDY, (study_id,)):
            if end is not None:
                yield start, end


def _stop_record(place: Home) -> None:
    from db.postgres import server as record

    record.stop(place.record)


if __name__ == "__main__":
    main()
