"""The local Prefect server of one home: started where none runs, shared while in use, ended after.

It listens on 127.0.0.1, keeps its history in SQLite under the home, and sends nothing out. Every user holds
`users.lock` shared; the server ends when it can take that lock alone. `server.lock` is inherited, and so held, by the
server process, and names its port. Locks end with their process, so none outlives a killed command.

Prefect reads its settings when it is imported, from the environment and from files of the working folder:
`running_server` sets the former, and imports it in this home's own folder.
"""

import fcntl
import importlib
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import chdir, contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import IO, Any

import httpx

from flows.environment import ServerError, enter, environment, login
from lesionlens.settings import Home, settings

ROOT = Path(__file__).resolve().parents[1]
"""Folder of prefect.yaml; deployed flows run in it."""
PORT = 4200
START_SECONDS = 120
HISTORY_SECONDS = 15
SILENCE_SECONDS = 80
"""Without a heartbeat for so long, the process of a flow run is taken for dead."""
PENDING_SECONDS = 600
"""A worker that claimed a flow run starts it within this time, or is taken for dead."""
CANCELLING_SECONDS = 60
"""A cancellation that nobody has carried out by then, since worker or terminal are gone, is taken for done."""
ENDED = ("Completed", "Failed", "Cancelled", "Crashed", "Paused")


@contextmanager
def running_server(home: Home, any_port: bool = True, meanwhile: Callable[[], object] = lambda: None) -> Iterator[int]:
    """A server of this home for the time of the block; yields its port and points Prefect to it.

    A server that runs already is used; else one is started on the chosen port or, with `any_port`, on another where
    that is taken; that takes seconds, in which `meanwhile` is called. ServerError if it does not come up, RuntimeError
    if Prefect was imported before and would talk to another server.
    """
    if "prefect" in sys.modules:
        raise RuntimeError("Prefect was imported before its server was chosen: import flows inside the block")
    with locked(home.prefect / "users.lock", fcntl.LOCK_SH):
        port = _ensure_server(home, any_port, meanwhile)
        enter(environment(home, port))
        with chdir(home.prefect):
            importlib.import_module("prefect.main")
        _ensure_automations()
        since = datetime.now(UTC)
        try:
            yield port
        finally:
            with suppress(Exception):  # a server that is gone takes no history
                _deliver_history(since)


@contextmanager
def locked(path: Path, how: int) -> Iterator[IO[str]]:
    """Hold a file's lock; BlockingIOError at once where `how` forbids to wait for it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a+") as file:
        fcntl.flock(file, how)
        yield file


def is_locked(path: Path) -> bool:
    """Whether a process holds the file's lock."""
    try:
        with locked(path, fcntl.LOCK_SH | fcntl.LOCK_NB):
            return False
    except BlockingIOError:
        return True


def _ensure_server(home: Home, any_port: bool, meanwhile: Callable[[], object]) -> int:
    path, log, started = home.prefect / "server.lock", home.prefect / "server.log", False
    until, problem = time.monotonic() + START_SECONDS, f"did not answer within {START_SECONDS} s"
    while time.monotonic() < until:
        try:
            with locked(path, fcntl.LOCK_EX | fcntl.LOCK_NB) as lock:
                if started:
                    problem = "ended while it started"
                    break
                _start_server(home, _free_port(any_port), lock, log)
                started = True
            meanwhile()
            until = time.monotonic() + START_SECONDS
        except BlockingIOError:  # a server holds it; its port is there once it is written
            port = path.read_text()
            if port and _is_healthy(home, int(port)):
                return int(port)
        time.sleep(0.2)
    raise ServerError(f"The Prefect server {problem}. The end of {log}:\n{tail(log)}")


def _start_server(home: Home, port: int, lock: IO[str], log: Path) -> None:
    command = ["uvicorn", "--factory", "flows.pages:create_app", "--app-dir", str(ROOT), "--host", "127.0.0.1"]
    command += ["--port", str(port), "--timeout-keep-alive", "5", "--timeout-graceful-shutdown", "5"]
    start(command, environment(home, port) | {"PREFECT__SERVER_FINAL": "1"}, log, lock)
    lock.truncate(0)
    lock.write(str(port))


def start(module: list[str], variables: dict[str, str], log: Path, *inherited: IO[str]) -> subprocess.Popen[bytes]:
    """Start a Python module with its arguments, beside its log, in a session of its own: Ctrl-C does not reach it.

    `variables` are its whole environment.
    """
    with log.open("wb") as sink:
        return subprocess.Popen(
            [sys.executable, "-m", *module], cwd=log.parent, env=variables, stdin=subprocess.DEVNULL, stdout=sink,
            stderr=subprocess.STDOUT, start_new_session=True, pass_fds=[file.fileno() for file in inherited],
        )  # fmt: skip


def _free_port(any_port: bool) -> int:
    wanted = settings().port or PORT
    with socket.socket() as trial:
        trial.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            trial.bind(("127.0.0.1", wanted))
        except OSError as error:
            if not any_port:
                raise ServerError(
                    f"Port {wanted} is taken by another program: stop that, or choose another port,"
                    " for example LESIONLENS_PORT=4300"
                ) from error
            trial.bind(("127.0.0.1", 0))
        return int(trial.getsockname()[1])


def _is_healthy(home: Home, port: int) -> bool:
    user, _, password = login(home).partition(":")
    address = f"http://127.0.0.1:{port}/api/admin/version"
    try:  # past any proxy
        found = httpx.get(address, auth=(user, password), trust_env=False, timeout=10)
    except httpx.HTTPError:  # not listening yet
        return False
    if found.status_code == httpx.codes.UNAUTHORIZED:
        raise ServerError(
            f"The server on port {port} was started with another login than the one in {home.prefect / 'login'}:"
            " end the commands that use it, then run this again"
        )
    return found.is_success


def tail(log: Path) -> str:
    """The end of a log file, indented."""
    text = log.read_text(errors="replace").splitlines() if log.exists() else []
    return "\n".join(f"  {line}" for line in text[-15:]) or "  (its log is empty)"


def _ensure_automations() -> None:
    """Enter, where they are missing, the automations that end flow runs whose process is gone."""
    from prefect.client.orchestration import get_client

    gone = "No sign of its process for {} s. What is finished is kept; run it again to go on from there."
    cancelled = "Cancelled in the UI; what is finished is kept"
    with get_client(sync_client=True) as client:
        known = {found["name"] for found in client.request("POST", "/automations/filter", json={}).json()}
        for automation in (
            _end("Runs whose process is gone are Crashed", "heartbeat", ["heartbeat", "Cancelling"], SILENCE_SECONDS,
                 "CRASHED", gone.format(SILENCE_SECONDS)),
            _end("Runs that a worker claimed and never started are Crashed", "Pending", ["Running", "Scheduled"],
                 PENDING_SECONDS, "CRASHED", gone.format(PENDING_SECONDS)),
            _end("Runs whose process is gone and that are being cancelled are Cancelled", "Cancelling", [],
                 CANCELLING_SECONDS, "CANCELLED", cancelled),
        ):  # fmt: skip
            if automation["name"] not in known:
                client.request("POST", "/automations/", json=automation)


def _end(name: str, after: str, expect: list[str], seconds: int, state: str, message: str) -> dict[str, Any]:
    """An automation that gives a flow run this state where none of the expected events follows an event in time."""
    trigger = {
        "type": "event",
        "posture": "Proactive",
        "match": {"prefect.resource.id": "prefect.flow-run.*"},
        "for_each": ["prefect.resource.id"],
        "after": [f"prefect.flow-run.{after}"],
        "expect": [f"prefect.flow-run.{event}" for event in [*expect, *ENDED]],
        "threshold": 1,
        "within": seconds,
    }
    action = {"type": "change-flow-run-state", "state": state, "message": message}
    return {"name": name, "enabled": True, "trigger": trigger, "actions": [action]}


def _deliver_history(since: datetime) -> None:
    """Send events and logs that wait in this process, then wait until the server has entered them.

    Task states reach the server through events; a server stopped too early never learns of the last ones.
    """
    from prefect.client.orchestration import get_client
    from prefect.events.worker import EventsWorker
    from prefect.logging.handlers import APILogWorker

    EventsWorker.drain_all(timeout=HISTORY_SECONDS)
    APILogWorker.drain_all(timeout=HISTORY_SECONDS)
    begun = {"start_time": {"after_": since.isoformat()}, "state": {"type": {"any_": ["PENDING", "RUNNING"]}}}
    until, settled = time.monotonic() + HISTORY_SECONDS, 0
    with get_client(sync_client=True) as client:
        while settled < 3 and time.monotonic() < until:  # the server writes in batches, once a second
            settled = (
                settled + 1 if client.request("POST", "/task_runs/count", json={"task_runs": begun}).json() == 0 else 0
            )
            time.sleep(0.5)
