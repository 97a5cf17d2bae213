"""Scaling: a study's runs on 1, 2, 4 and 8 machines, with sleep in place of computing and everything else real.

    python -m benchmarks.scaling            200 runs of 0.6 s each on 1, 2, 4, 8 machines: about 8 minutes
    python -m benchmarks.scaling --small    12 runs on 1 and 2 machines: about a minute

Server, work pool, workers, flow runs, leases, slots, epochs in the record and checkpoint files are those of a study.
A machine is a worker process with a home, a temporary folder and a name of its own. What is measured, from the
record: the span from the first run's start to the last one's end; overhead per run is what one machine spends on a run
beyond its sleep. Starting (flow runs, Python, torch) is told apart: it is paid once per machine, not per run.
"""

import argparse
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np

from flows import server
from lesionlens.config import DataConfig, ExecutionConfig, GridConfig, HyperSet, PhantomConfig, StudyConfig
from lesionlens.identity import digest
from lesionlens.records import Box, DatasetIndex, Image, Label, Lesion, Sample, Statistics
from lesionlens.settings import Home
from tests.record.makers import save_samples

ROOT = Path(__file__).resolve().parents[1]
EPOCHS = 2
SECONDS = 0.3
"""What one epoch sleeps."""
BYTES = 1_000_000
"""Size of a checkpoint."""
LABELS = (Label("B", "background", "background", 0, False), Label("MM", "malignant mass", "mass", 1, True))
STUDY = "SELECT run.started_at, run.finished_at FROM run JOIN study_run ON run_id = run.id WHERE study_id = %s"


@dataclass(frozen=True)
class Measured:
    """One study: machines, runs, seconds from handing out to the end, and from the first start to the last end."""

    machines: int
    runs: int
    whole: float
    span: float

    def line(self) -> str:
        overhead = 1000 * (self.span * self.machines / self.runs - EPOCHS * SECONDS)
        ideal = self.runs * EPOCHS * SECONDS / self.machines
        return f"| {self.machines} | {self.runs} | {self.whole:.1f} | {self.span:.1f} | {ideal:.1f} | {overhead:.0f} |"


def main() -> None:
    """Measure and print a table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--small", action="store_true", help="a try in about a minute")
    options = parser.parse_args()
    machines, runs = ((1, 2), 12) if options.small else ((1, 2, 4, 8), 200)
    with tempfile.TemporaryDirectory(prefix="scaling.") as folder:
        home = Home(Path(folder) / "main").ensure()
        os.environ["LESIONLENS_HOME"] = str(home.root)
        os.environ["LESIONLENS_CHECKPOINTS"] = str(Path(folder) / "checkpoints")
        os.environ["PREFECT_LOGGING_LEVEL"] = "WARNING"
        try:
            with server.running_server(home) as address:
                _show(Path(folder), address, machines, runs)
        finally:
            _stop_record(home)


def _show(folder: Path, address: str, machines: tuple[int, ...], runs: int) -> None:
    from db.engine import database_url

    os.environ["LESIONLENS_DATABASE_URL"] = database_url()
    columns = (
        "machines",
        "runs",
        "handed out to end, s",
        "first start to last end, s",
        "sleep, s",
        "overhead per run, ms",
    )
    print(f"| {' | '.join(columns)} |")
    print("|---|---|---|---|---|---|", flush=True)
    for number, count in enumerate(machines):
        print(_measure(folder, address, count, runs, number).line(), flush=True)


def _measure(folder: Path, address: str, machines: int, runs: int, number: int) -> Measured:
    from benchmarks.scaling_flow import deploy, simulated_study

    config = _config(runs, 10_000 * number, machines)
    study_id = _plan(config)
    deploy()
    workers = [_worker(folder / f"machine {number}.{m}", address) for m in range(machines)]
    try:
        begun = time.monotonic()
        simulated_study(study_id, config)
        whole = time.monotonic() - begun
    finally:
        for worker in workers:
            worker.terminate()
        for worker in workers:
            worker.wait(60)
    times = list(_times(study_id))
    assert len(times) == runs, "not every run is finished"
    span = max(end for _, end in times) - min(start for start, _ in times)
    return Measured(machines, runs, whole, span.total_seconds())


def _config(runs: int, first: int, machines: int) -> StudyConfig:
    return StudyConfig(
        name=f"{machines} machines",
        data=DataConfig(source="phantom", phantom=PhantomConfig()),
        grid=GridConfig(
            backbones=("resnet18",),
            strategies=("simultaneous",),
            sets=(HyperSet(),),
            seeds=tuple(range(first, first + runs)),
        ),
        execution=ExecutionConfig(device="cpu", runner="workers", shares=machines),
    )


def _plan(config: StudyConfig) -> int:
    """Enter a sample set of noise and the study's runs."""
    from db import studies
    from db.engine import make_engine

    random = np.random.default_rng(0)
    parts = ("train",) * 16 + ("validation",) * 8
    images = tuple(Image(f"image {n}", f"P_{n:05d}", f"{n}.jpg") for n in range(24))
    lesions = tuple(Lesion(f"lesion {n}", f"image {n}", "mass", "MALIGNANT", "MM", None) for n in range(1, 24, 2))
    patches = [_patch(n, part, random) for n, part in enumerate(parts)]
    index = DatasetIndex("noise", "phantom", digest("noise"), LABELS, images, lesions)
    with make_engine().begin() as connection:
        grey = [Statistics(None, 0.5, 0.3)]
        sample_set = save_samples(connection, index, digest("noise patches"), 32, patches, statistics=grey)
        entered = config.model_dump(mode="json")
        study = studies.save_study(connection, digest(entered), config.name, entered, digest("e"), sample_set, {})
        for run in config.grid.runs():
            studies.save_run(connection, study, digest(run), sample_set, run, config.training, config.grid.title(run))
    return study


def _patch(n: int, part: Any, random: np.random.Generator) -> Sample:
    lesion = n % 2 == 1
    return Sample(
        f"patch {n}", LABELS[n % 2].code, f"image {n}", f"lesion {n}" if lesion else None, f"P_{n:05d}", part,
        Box(0, 0, 32, 32), Box(8, 8, 24, 24) if lesion else None, 0.25 if lesion else None,
        random.integers(0, 256, (32, 32), dtype=np.uint8), np.eye(32, dtype=bool) if lesion else None,
    )  # fmt: skip


def _worker(folder: Path, address: str) -> subprocess.Popen[bytes]:
    (folder / "tmp").mkdir(parents=True)
    own = {"LESIONLENS_HOME": str(folder), "TMPDIR": str(folder / "tmp"), "PREFECT_HOME": str(folder / "prefect")}
    named = {"LESIONLENS_MACHINE": folder.name, "PREFECT_API_URL": address, "OMP_NUM_THREADS": "1"}
    with (folder / "log").open("wb") as log:
        return subprocess.Popen(
            [sys.executable, "-m", "flows", "worker"], cwd=ROOT, env=os.environ | own | named, stdout=log, stderr=log
        )


def _times(study_id: int) -> Iterator[tuple[datetime, datetime]]:
    from db.engine import make_engine

    with make_engine().connect() as connection:
        for start, end in connection.exec_driver_sql(STUDY, (study_id,)):
            if end is not None:
                yield start, end


def _stop_record(home: Home) -> None:
    from db.postgres import server as record

    record.stop(home.record)


if __name__ == "__main__":
    main()
