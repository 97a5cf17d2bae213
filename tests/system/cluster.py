"""A small cluster on this machine: a full PostgreSQL, a served home, and "machines" that share nothing else.

Each machine is a process group with its own home, cache and temporary folder. What they have in common is the
database's address, the server's, and the folder of checkpoints.
"""

import os
import pwd
import random
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psutil
import psycopg

from flows import local_server
from lesionlens.config import ExecutionConfig, GridConfig, HyperSet, StoppingConfig, StudyConfig, TrainingConfig
from tests.e2e.conftest import small_study

ROOT = Path(__file__).resolve().parents[2]
ENDED = {"COMPLETED", "FAILED", "CRASHED", "CANCELLED"}
PATIENCE = 240.0
PASSWORD = "b4ttery-st4ple"


def programs() -> Path | None:
    """Where Debian puts PostgreSQL's programs."""
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"))
    return found[-1].parent if found else None


def free_port() -> int:
    """A port below those that the system gives to callers: a server that is killed finds it free again."""
    for port in random.sample(range(20_000, 32_000), 100):
        with socket.socket() as trial:
            try:
                trial.bind(("127.0.0.1", port))
            except OSError:
                continue
            return port
    raise AssertionError("no free port")


def until(what: str, condition: Callable[[], Any], patience: float = PATIENCE) -> Any:
    """Ask again and again; what the condition said when it first held."""
    end = time.monotonic() + patience
    while time.monotonic() < end:
        if found := condition():
            return found
        time.sleep(0.5)
    raise AssertionError(f"not within {patience:g} s: {what}")


class Postgres:
    """A full PostgreSQL of its own folder, port and system user."""

    def __init__(self) -> None:
        self.bin = programs()
        assert self.bin is not None
        self.folder, self.port = Path(tempfile.mkdtemp(prefix="postgres.")), free_port()  # pytest's folders are root's
        self.user = "postgres" if os.geteuid() == 0 else pwd.getpwuid(os.geteuid()).pw_name
        shutil.chown(self.folder, self.user)  # PostgreSQL refuses to run as root
        secret = self.folder / "password"
        secret.write_text(PASSWORD)
        shutil.chown(secret, self.user)
        self._run(
            "initdb", "--auth=scram-sha-256", "--username=lesionlens", f"--pwfile={secret}", "--no-sync",
            "-D", str(self.folder / "data"),
        )  # fmt: skip
        secret.unlink()
        self.start()
        with psycopg.connect(f"{self.url('postgres')}", autocommit=True) as connection:
            connection.execute("CREATE DATABASE prefect")
            connection.execute("CREATE DATABASE record")

    def url(self, database: str, driver: str = "postgresql") -> str:
        return f"{driver}://lesionlens:{PASSWORD}@127.0.0.1:{self.port}/{database}"

    def start(self) -> None:
        options = f"-p {self.port} -c listen_addresses=127.0.0.1 -k {self.folder} -c fsync=off"
        self._run(
            "pg_ctl", "-D", str(self.folder / "data"), "-l", str(self.folder / "log"), "-w", "-o", options, "start"
        )

    def stop(self, how: str = "fast") -> None:
        self._run("pg_ctl", "-D", str(self.folder / "data"), "-w", "-m", how, "stop")

    def _run(self, *words: str) -> None:
        who = {"user": self.user, "extra_groups": []} if os.geteuid() == 0 else {}
        done = subprocess.run(
            [str(self.bin / words[0]), *words[1:]], cwd=self.folder, stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE, text=True, timeout=120, **who,
        )  # type: ignore[call-overload]  # fmt: skip
        assert done.returncode == 0, done.stderr

    def rows(self, query: str, *values: Any) -> list[tuple[Any, ...]]:
        """What the record says; nothing while its tables are not there yet or the server is away."""
        try:
            with psycopg.connect(self.url("record")) as connection:
                return connection.execute(query, values).fetchall()  # type: ignore[arg-type]
        except (psycopg.OperationalError, psycopg.errors.UndefinedTable):
            return []

    def dump(self, database: str) -> str:
        """Everything a database holds, as SQL."""
        assert self.bin is not None
        done = subprocess.run(
            [str(self.bin / "pg_dump"), self.url(database)], capture_output=True, text=True, check=True
        )
        return done.stdout

    def number(self, query: str, *values: Any) -> int:
        found = self.rows(query, *values)
        return int(found[0][0]) if found else 0


class Cluster:
    """The served home, its database and the machines that joined."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.port = folder, free_port()
        self.postgres = Postgres()
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
