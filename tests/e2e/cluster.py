"""A small cluster on this machine: a full PostgreSQL, a served home, and "machines" that share nothing else.

Each machine is a process group with its own home, cache and temporary folder. What they have in common is the
database's address, the server's, and the folder of checkpoints.
"""

import os
import shutil
import signal
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psutil

from flows import local_server
from lesionlens.config import ExecutionConfig, GridConfig, HyperSet, StoppingConfig, StudyConfig, TrainingConfig
from tests.e2e.conftest import small_study
from tests.full_postgres import FullPostgres, free_port

ROOT = Path(__file__).resolve().parents[2]
ENDED = {"COMPLETED", "FAILED", "CRASHED", "CANCELLED"}
PATIENCE = 240.0


def until(what: str, condition: Callable[[], Any], patience: float = PATIENCE) -> Any:
    """Ask again and again; what the condition said when it first held."""
    end = time.monotonic() + patience
    while time.monotonic() < end:
        if found := condition():
            return found
        time.sleep(0.5)
    raise AssertionError(f"not within {patience:g} s: {what}")


class Cluster:
    """The served home, its database and the machines that joined."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.port = folder, free_port()
        self.postgres = FullPostgres()
        self.machines: list[subprocess.Popen[bytes]] = []
        self.environment = self._environment("main", LESIONLENS_PORT=str(self.port))
        url = self.postgres.url("prefect", "postgresql+asyncpg")
        self.environment["PREFECT_SERVER_DATABASE_CONNECTION_URL"] = url
        self.served = self._start("main", "serve", self.environment)
        until("the server is up", self._is_up)

    def _environment(self, name: str, **extra: str) -> dict[str, str]:
        kept = {k: v for k, v in os.environ.items() if not k.startswith(("LESIONLENS_", "PREFECT_"))}
        (self.folder / name / "tmp").mkdir(parents=True)
        return kept | extra | {
            "LESIONLENS_HOME": str(self.folder / name / "home"),
            "PREFECT_HOME": str(self.folder / name / "prefect"),
            "TMPDIR": str(self.folder / name / "tmp"),
            "LESIONLENS_DATABASE_URL": self.postgres.url("record"),
            "LESIONLENS_CHECKPOINTS": str(self.folder / "checkpoints"),
            "LESIONLENS_MACHINE": name,
            "OMP_NUM_THREADS": "1",
        }  # fmt: skip

    def _start(self, name: str, command: str, environment: dict[str, str]) -> subprocess.Popen[bytes]:
        with (self.folder / f"{name}.log").open("wb") as log:
            return subprocess.Popen(
                [sys.executable, "-m", "flows", command], cwd=ROOT, env=environment, stdout=log, stderr=log,
                start_new_session=True,
            )  # fmt: skip

    def _is_up(self) -> bool:
        said = (self.folder / "main.log").read_text()
        assert self.served.poll() is None, said
        return "Serving" in said

    def join(self, name: str) -> subprocess.Popen[bytes]:
        """Another machine takes shares."""
        address = f"http://127.0.0.1:{self.port}/api"
        self.machines.append(self._start(name, "worker", self._environment(name, PREFECT_API_URL=address)))
        return self.machines[-1]

    def call(self, path: str, body: dict[str, Any] | None = None) -> Any:
        return local_server.call(self.port, path, body)

    def press(self, deployment: str, **parameters: Any) -> str:
        """Press Run on a deployment; returns the flow run's id."""
        known = {d["name"]: d["id"] for d in self.call("deployments/filter", {})}
        body = {"parameters": parameters}
        return str(self.call(f"deployments/{known[deployment]}/create_flow_run", body)["id"])

    def start(self, config: StudyConfig, deployment: str = "study-demo") -> str:
        """Press Run on a study; returns the flow run's id."""
        return self.press(deployment, config=config.model_dump(mode="json"))

    def page(self, path: str) -> str:
        """What a browser gets from the server."""
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        with opener.open(f"http://127.0.0.1:{self.port}/{path}", timeout=30) as page:
            return str(page.read().decode())

    def run(self, number: str) -> dict[str, Any]:
        return dict(self.call(f"flow_runs/{number}"))

    def end(self, number: str) -> dict[str, Any]:
        """Wait for the end of a flow run."""
        return dict(until("the flow run ends", lambda: self._ended(number)))

    def _ended(self, number: str) -> dict[str, Any] | None:
        try:
            run = self.run(number)
        except OSError:  # the server is away
            return None
        return run if run["state_type"] in ENDED else None

    def close(self) -> None:
        for machine in self.machines:
            kill(machine.pid)
        subprocess.run([sys.executable, "-m", "flows", "stop"], cwd=ROOT, env=self.environment, timeout=120)
        self.served.wait(timeout=60)
        self.postgres.stop("immediate")
        shutil.rmtree(self.postgres.folder)


def kill(number: int) -> None:
    """A machine loses power: SIGKILL to the process and everything it started."""
    try:
        family = [psutil.Process(number), *psutil.Process(number).children(recursive=True)]
    except psutil.NoSuchProcess:
        return
    for process in family:
        try:
            process.send_signal(signal.SIGKILL)
        except psutil.NoSuchProcess:
            continue
    psutil.wait_procs(family, timeout=10)


def study(name: str, seeds: int, epochs: int, first: int = 0, **execution: Any) -> StudyConfig:
    """A study of one backbone, as long as asked: every run has its full number of epochs."""
    return small_study().model_copy(
        update={
            "name": name,
            "training": TrainingConfig(weights="none", stopping=StoppingConfig(patience=999, max_epochs=epochs)),
            "grid": GridConfig(
                backbones=("resnet18",), strategies=("simultaneous",), sets=(HyperSet(batch_size=8),),
                seeds=tuple(range(first, first + seeds)),
            ),
            "execution": ExecutionConfig(device="cpu", **execution),
        }
    )  # fmt: skip
