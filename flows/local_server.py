"""The local Prefect server of one home: started where none runs, shared while in use, stopped after.

Everything stays on this machine: the server listens on 127.0.0.1, keeps its history in SQLite under
the home, and sends nothing out. Prefect is imported by none of this, because it reads its settings
when it is imported: `running_server` sets them first.
"""

import json
import os
import socket
import sys
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from urllib.error import HTTPError

import psutil

from flows import automations, processes
from flows.processes import ServerError
from lesionlens.settings import Home

ROOT = Path(__file__).resolve().parents[1]
"""Folder that holds prefect.yaml; deployed flows run in it."""
PORT = 4200
APPLICATION = ("--factory", "flows.application:create_app")
START_SECONDS = 120
HISTORY_SECONDS = 15
BUSY = frozenset({429, 503})
"""Answers that mean: not now, and nothing was done. The server gives 503 while its SQLite is locked."""
BUSY_SECONDS = 30
PORT_SECONDS = 90
"""How long a port may stay taken after its server died: whoever calls a dead server's port may be given that very port
for its own end of the line, which the system keeps for a minute after the call is given up."""

_direct = urllib.request.build_opener(urllib.request.ProxyHandler({}))


def environment(home: Home, port: int) -> dict[str, str]:
    """What Prefect's server, worker and flows must find in the environment; adds to it, never reads secrets."""
    kept = os.environ.get
    without_proxy = {*kept("NO_PROXY", "").split(","), "127.0.0.1", "localhost"} - {""}
    return {
        "PREFECT_HOME": str(home.prefect),
        "PREFECT_API_URL": f"http://127.0.0.1:{port}/api",
        "PREFECT_SERVER_ALLOW_EPHEMERAL_MODE": "false",  # a missing server must be an error, not a lost history
        "DO_NOT_TRACK": "1",  # either of the two alone still lets something out
        "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
        "PREFECT_SERVER_UI_SHOW_PROMOTIONAL_CONTENT": "false",
        "PREFECT_FLOWS_HEARTBEAT_FREQUENCY": str(automations.HEARTBEAT_SECONDS),
        # the server says 500 while its own database restarts, which must not end a run
        "PREFECT_CLIENT_RETRY_EXTRA_CODES": "500,504",
        "PREFECT_CLIENT_MAX_RETRIES": "8",
        "PREFECT_LOGGING_LEVEL": kept("PREFECT_LOGGING_LEVEL", "INFO"),
        "PREFECT_SERVER_LOGGING_LEVEL": kept("PREFECT_SERVER_LOGGING_LEVEL", "WARNING"),
        "NO_PROXY": ",".join(sorted(without_proxy)),
        "LESIONLENS_HOME": str(home.root),
        "LESIONLENS_DATA": kept("LESIONLENS_DATA") or kept("DATA") or str(home.root / "cbis-ddsm"),
    }


def chosen_port() -> int:
    """`LESIONLENS_PORT`, 4200 if unset. ValueError for anything but a port number."""
    text = os.environ.get("LESIONLENS_PORT", str(PORT))
    if not text.isdecimal() or not 1 <= int(text) <= 65535:
        raise ValueError(f"LESIONLENS_PORT={text!r} is no port: give a number from 1 to 65535, or unset it")
    return int(text)


@contextmanager
def running_server(home: Home) -> Iterator[str]:
    """A server of this home for the time of the block; yields its API address and points Prefect to it.

    A server that runs already is used; else one is started on the chosen port, or on any free one. The
    last user stops it: the history stays in the home. ServerError if it does not come up, RuntimeError
    if Prefect was imported before and would talk to another server.
    """
    if "prefect" in sys.modules:
        raise RuntimeError("Prefect was imported before its server was chosen: import flows inside the block")
    with in_use(home):
        port = ensure(home)
        os.environ.update(environment(home, port))
        since = datetime.now(UTC)
        try:
            yield os.environ["PREFECT_API_URL"]
        finally:
            deliver_history(port, since)


@contextmanager
def in_use(home: Home) -> Iterator[None]:
    """Count as a user of this home's server; whoever leaves last stops it."""
    with processes.opened(home.prefect / "users.lock") as users:
        with processes.locked(home.prefect / "server.lock"):
            processes.try_lock(users, shared=True)  # only ever taken alone by a holder of server.lock
        try:
            yield
        finally:
            with processes.locked(home.prefect / "server.lock"):
                processes.unlock(users)
                if processes.try_lock(users):
                    end_server(home)


def ensure(home: Home, port: int | None = None, patience: float = 0) -> int:
    """Port of this home's server, started if none runs: on `port`, or, if None, on the chosen or any free one.

    ServerError where `port` is taken, and still is `patience` seconds later.
    """
    with processes.locked(home.prefect / "server.lock", wait=START_SECONDS + 30):
        server = find_server(home)
        if server is not None:
            actual = port_of(server)
        else:  # a new process's command line cannot be read at once, so its port is kept
            actual = _free_port(chosen_port()) if port is None else _required_port(port, patience)
            server = _start(home, actual)
        _await_health(server, actual, home.prefect / "server.log")
        automations.ensure(actual)
    return actual


def find_server(home: Home) -> psutil.Process | None:
    """This home's server process, if one runs here."""
    return processes.find(APPLICATION, home.prefect)


def port_of(server: psutil.Process) -> int:
    """The port on a server's command line."""
    words = server.cmdline()
    return int(words[words.index("--port") + 1])


def end_server(home: Home) -> bool:
    """Stop this home's server; False if none runs."""
    server = find_server(home)
    if server is not None:
        processes.end(server)
    return server is not None


def _start(home: Home, port: int) -> psutil.Process:
    command = [sys.executable, "-m", "uvicorn", *APPLICATION, "--host", "127.0.0.1", "--port", str(port)]
    command += ["--app-dir", str(ROOT), "--timeout-keep-alive", "5", "--timeout-graceful-shutdown", "5"]
    settings = environment(home, port) | {"PREFECT__SERVER_FINAL": "1"}
    return processes.start(command, settings, home.root, home.prefect / "server.log")


def _free_port(preferred: int) -> int:
    return preferred if _is_free(preferred) else _any_port()


def _required_port(port: int, patience: float) -> int:
    until = time.monotonic() + patience
    while not (free := _is_free(port)) and time.monotonic() < until:
        time.sleep(0.2)
    if not free:
        raise ServerError(
            f"Port {port} is taken by another program: stop that, or choose another port,"
            " for example LESIONLENS_PORT=4300"
        )
    return port


def _is_free(port: int) -> bool:
    with socket.socket() as trial:
        trial.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            trial.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True


def _any_port() -> int:
    with socket.socket() as trial:
        trial.bind(("127.0.0.1", 0))
        return int(trial.getsockname()[1])


def _await_health(server: psutil.Process, port: int, log: Path) -> None:
    until = time.monotonic() + START_SECONDS
    while time.monotonic() < until:
        if not processes.alive(server):
            raise ServerError(
                f"The Prefect server ended while it started. The end of {log}:\n{processes.last_lines(log)}"
            )
        try:
            if call(port, "health") is True:
                return
        except (OSError, ValueError):  # not listening yet, or not answering as Prefect does
            pass
        time.sleep(0.2)
    processes.end(server)
    raise ServerError(
        f"The Prefect server did not answer within {START_SECONDS} s. The end of {log}:\n{processes.last_lines(log)}"
    )


def call(port: int, path: str, body: dict[str, Any] | None = None) -> Any:
    """Ask the server's API; POST if there is a body. OSError if it does not answer with success."""
    request = urllib.request.Request(
        f"http://127.0.0.1:{port}/api/{path}",
        data=None if body is None else json.dumps(body).encode(),
        headers={"Content-Type": "application/json"},
    )
    return json.loads(answer(request))


def answer(request: urllib.request.Request) -> bytes:
    """What the server answers, past any proxy; asks again while it is busy. OSError if it does not succeed."""
    until = time.monotonic() + BUSY_SECONDS
    while True:
        try:
            with _direct.open(request, timeout=10) as found:
                return bytes(found.read())
        except HTTPError as refused:
            if refused.code not in BUSY or time.monotonic() > until:
                raise
        time.sleep(0.5)


def deliver_history(port: int, since: datetime) -> None:
    """Send the events and logs that wait in this process, then wait until the server has written them down.

    Task states reach the server behind the tasks' backs; a server stopped too early never learns of the last ones.
    """
    if "prefect" not in sys.modules:
        return
    from prefect.events.worker import EventsWorker
    from prefect.logging.handlers import APILogWorker

    EventsWorker.drain_all(timeout=HISTORY_SECONDS)
    APILogWorker.drain_all(timeout=HISTORY_SECONDS)
    until, settled = time.monotonic() + HISTORY_SECONDS, 0
    while settled < 3 and time.monotonic() < until:  # the server writes in batches, once a second
        settled = settled + 1 if _open_tasks(port, since) == 0 else 0
        time.sleep(0.5)


def _open_tasks(port: int, since: datetime) -> int | None:
    """How many tasks begun after `since` have not ended by the server's account; None if it does not say."""
    begun = {"start_time": {"after_": since.isoformat()}, "state": {"type": {"any_": ["PENDING", "RUNNING"]}}}
    try:
        return int(call(port, "task_runs/count", {"task_runs": begun}))
    except OSError:
        return None
