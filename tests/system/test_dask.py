"""The same study on a Dask cluster: a scheduler and a worker started as people start them."""

import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.system.conftest import Home, study, until

pytestmark = pytest.mark.slow


def test_a_scheduler_elsewhere_trains_and_evaluates_the_runs(new_home: Callable[..., Home], tmp_path: Path) -> None:
    pytest.importorskip("prefect_dask")
    home, log = new_home(), tmp_path / "scheduler.log"
    started = []

    def start(*words: str) -> None:
        with (tmp_path / f"{words[1].rsplit('_', 1)[1]}.log").open("wb") as sink:
            command = [sys.executable, *words, "--no-dashboard"]
            started.append(subprocess.Popen(command, cwd=tmp_path, env=home.environment, stdout=sink, stderr=sink))

    try:
        start("-m", "distributed.cli.dask_scheduler", "--host", "127.0.0.1", "--port", "0")
        address = until("the scheduler is up", lambda: re.search(r"tcp://127\.0\.0\.1:\d+", log.read_text()))[0]
        start("-m", "distributed.cli.dask_worker", address, "--nthreads", "1")
        done = home.study(study("dask", seeds=2, epochs=2), LESIONLENS_DASK_SCHEDULER=address)
        assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
        assert home.sql("SELECT status, count(*) AS n FROM run GROUP BY status").rows() == [("finished", "2")]
        assert home.count("SELECT count(*) FROM evaluation") == 2
        assert "train resnet18 simultaneous #1 seed 1" in (tmp_path / "worker.log").read_text()
    finally:
        for process in started:
            process.terminate()
            process.wait(timeout=60)
