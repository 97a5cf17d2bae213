"""The same study on a Dask cluster: a scheduler and a worker started as people start them."""

import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.cluster import study, until

pytestmark = pytest.mark.slow


def test_a_scheduler_elsewhere_trains_the_runs(new_home: Any, tmp_path: Path) -> None:
    pytest.importorskip("prefect_dask")
    home = new_home()
    words = ["-m", "distributed.cli.dask_scheduler", "--host", "127.0.0.1", "--port", "0", "--no-dashboard"]
    with (tmp_path / "scheduler.log").open("wb") as log:
        scheduler = subprocess.Popen([sys.executable, *words], stdout=log, stderr=log)
    worker = None
    try:
        said = tmp_path / "scheduler.log"
        address = until("the scheduler is up", lambda: re.search(r"tcp://127\.0\.0\.1:\d+", said.read_text()))[0]
        with (tmp_path / "worker.log").open("wb") as log:
            worker = subprocess.Popen(
                [sys.executable, "-m", "distributed.cli.dask_worker", address, "--nthreads", "1", "--no-dashboard"],
                cwd=tmp_path, env=home.environment | {"OMP_NUM_THREADS": "1"}, stdout=log, stderr=log,
            )  # fmt: skip
        wanted = study("dask", seeds=2, epochs=2, runner="dask", dask_scheduler=address)
        home.config.write_text(wanted.model_dump_json())
        done = home.study()
        assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
        assert home.sql("SELECT status, count(*) AS n FROM run GROUP BY status").rows() == [("finished", "2")]
        assert home.sql("SELECT count(*) AS n FROM evaluation").item() == "2"
        assert "train resnet18 simultaneous #1 seed 1" in (tmp_path / "worker.log").read_text()
    finally:
        for process in (worker, scheduler):
            if process is not None:
                process.terminate()
                process.wait(timeout=30)


def test_without_an_address_a_cluster_is_made_on_this_machine(new_home: Any) -> None:
    pytest.importorskip("prefect_dask")
    home = new_home()
    home.config.write_text(study("dask", seeds=2, epochs=2, runner="dask", runs_per_device=2).model_dump_json())
    done = home.study()
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    assert home.sql("SELECT status, count(*) AS n FROM run GROUP BY status").rows() == [("finished", "2")]
    assert home.sql("SELECT count(*) AS n FROM evaluation").item() == "2"
