"""Prefect's server, work pool and worker of one home, all on 127.0.0.1.

The server listens on this machine only, keeps its history in SQLite under the home, and sends nothing out. It runs
while a command uses it: a user holds `users.lock` shared, and the server ends when it can take that lock alone.
`server.lock` is inherited, and so held, by the server process, and names its port. Locks end with their process, so a
killed command leaves nothing that a later one could mistake for a server.

Prefect reads its settings when it is imported: `running_server` puts them into the environment first.
"""

import fcntl
import hashlib
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import IO, Any

import httpx
import psutil
from lesionlens.settings import Home

from flows.logs import shorten_errors

ROOT = Path(__file__).resolve().parents[1]
"""Folder of prefect.yaml; deployed flows run in it."""
PORT = 4200
POOL = "lesionlens"
RUNS_AT_ONCE = 8
"""Flow runs of the worker at once; each is a process of about half a gigabyte. The rest waits."""
START_SECONDS = 120
STOP_SECONDS = 30
HISTORY_SECONDS = 15
HEARTBEAT_SECONDS = 30
"""The shortest that Prefect takes."""
SILENCE_SECONDS = 80
"""Without a heartbeat for so long, the process of a flow run is taken for dead."""
PENDING_SECONDS = 600
"""A worker that claimed a flow run starts it within this time, or it is taken for dead."""
SOURCES = ("prefect.yaml", "flows/*.py", "src/lesionlens/config.py")
"""What the deployments depend on."""


class ServerError(RuntimeError):
    """The server, the worker or a deployment could not be started; the message names the remedy."""


def environment(home: Home, port: int) -> dict[str, str]:
    """What Prefect's server, worker and flows must find in the environment, added to what is there."""
    kept = os.environ.get
    without_proxy = {*kept("NO_PROXY", "").split(","), "127.0.0.1", "localhost"} - {""}
    return {
        "PREFECT_HOME": str(home.prefect),
        "PREFECT_API_URL": f"http://127.0.0.1:{port}/api",
        "PREFECT_SERVER_ALLOW_EPHEMERAL_MODE": "false",  # a missing server must be an error, not a lost history
        "DO_NOT_TRACK": "1",  # either of the two alone still lets something out
        "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
        "PREFECT_SERVER_UI_SHOW_PROMOTIONAL_CONTENT": "false",
        "PREFECT_FLOWS_HEARTBEAT_FREQUENCY": str(HEARTBEAT_SECONDS),
        # the server says 500 while its own database restarts, which must not end a run
        "PREFECT_CLIENT_RETRY_EXTRA_CODES": "500,504",
        "PREFECT_CLIENT_MAX_RETRIES": "8",
        "PREFECT_LOGGING_LEVEL": kept("PREFECT_LOGGING_LEVEL", "INFO"),
        "PREFECT_SERVER_LOGGING_LEVEL": kept("PREFECT_SERVER_LOGGING_LEVEL", "WARNING"),
        "NO_PROXY": ",".join(sorted(without_proxy)),
        "LESIONLENS_HOME": str(home.root),
        "LESIONLENS_DATA": kept("LESIONLENS_DATA") or str(home.root / "cbis-ddsm"),
    }


def chosen_port() -> int | None:
    """`LESIONLENS_PORT`, None if unset. ValueError for anything but a port number."""
    text = os.environ.get("LESIONLENS_PORT")
    if text is None:
        return None
    if not text.isdecimal() or not 1 <= int(text) <= 65535:
        raise ValueError(f"LESIONLENS_PORT={text!r} is no port: give a number from 1 to 65535, or unset it")
    return int(text)


@contextmanager
def running_server(home: Home, port: int | None = None) -> Iterator[int]:
    """A server of this home for the time of the block; yields its port and points Prefect to it.

    A server that runs already is used; else one is started on `port`, which must be free, or, if None, on the chosen
    or any free one. ServerError if it does not come up, RuntimeError if Prefect was imported before and would talk
    to another server.
    """
    if "prefect" in sys.modules:
        raise RuntimeError("Prefect was imported before its server was chosen: import flows inside the block")
    with _locked(home.prefect / "users.lock", fcntl.LOCK_SH):
        actual = _ensure_server(home, port)
        os.environ.update(environment(home, actual))
        shorten_errors()
        _ensure_automations()
        since = datetime.now(UTC)
        try:
            yield actual
        finally:
            with suppress(Exception):  # a server that is gone takes no history
                _deliver_history(since)


@contextmanager
def _locked(path: Path, how: int) -> Iterator[IO[str]]:
    """Hold a file's lock in this process; BlockingIOError at once where `how` forbids to wait."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a+") as file:
        fcntl.flock(file, how)
        yield file


def _ensure_server(home: Home, port: int | None) -> int:
    """Port of this home's server, which is started where none runs."""
    path, log, started = home.prefect / "server.lock", home.prefect / "server.log", False
    until = time.monotonic() + START_SECONDS
    while time.monotonic() < until:
        try:
            with _locked(path, fcntl.LOCK_EX | fcntl.LOCK_NB) as lock:
                if started:
                    raise ServerError(f"The Prefect server ended while it started. The end of {log}:\n{_tail(log)}")
                _start_server(home, port or _free_port(), lock, log)
                started = True
        except BlockingIOError:  # a server holds it; its port is there once it is written
            text = path.read_text()
            if text and _is_healthy(int(text)):
                return int(text)
        time.sleep(0.2)
    raise ServerError(f"The Prefect server did not answer within {START_SECONDS} s. The end of {log}:\n{_tail(log)}")


def _start_server(home: Home, port: int, lock: IO[str], log: Path) -> None:
    if not _is_free(port):
        raise ServerError(
            f"Port {port} is taken by another program: stop that, or choose another port, for example"
            " LESIONLENS_PORT=4300"
        )
    command = [sys.executable, "-m", "uvicorn", "--factory", "flows.pages:create_app", "--app-dir", str(ROOT)]
    command += ["--host", "127.0.0.1", "--port", str(port)]
    command += ["--timeout-keep-alive", "5", "--timeout-graceful-shutdown", "5"]
    settings = environment(home, port) | {"PREFECT__SERVER_FINAL": "1"}
    _start(command, settings, home.root, log, lock)
    lock.truncate(0)
    lock.write(str(port))


def _start(
    command: list[str], settings: dict[str, str], folder: Path, log: Path, *inherited: IO[str]
) -> subprocess.Popen[bytes]:
    """Start a process in a session of its own, so that Ctrl-C in the terminal does not reach it."""
    with log.open("wb") as sink:
        return subprocess.Popen(
            command, cwd=folder, env=os.environ | settings, stdin=subprocess.DEVNULL, stdout=sink,
            stderr=subprocess.STDOUT, start_new_session=True, pass_fds=[file.fileno() for file in inherited],
        )  # fmt: skip


def _free_port() -> int:
    preferred = chosen_port() or PORT
    if _is_free(preferred):
        return preferred
    with socket.socket() as trial:
        trial.bind(("127.0.0.1", 0))
        return int(trial.getsockname()[1])


def _is_free(port: int) -> bool:
    with socket.socket() as trial:
        trial.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            trial.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True


def _is_healthy(port: int) -> bool:
    try:  # past any proxy
        return httpx.get(f"http://127.0.0.1:{port}/api/health", trust_env=False, timeout=10).text == "true"
    except httpx.HTTPError:  # not listening yet
        return False


def _tail(log: Path) -> str:
    text = log.read_text(errors="replace").splitlines() if log.exists() else []
    return "\n".join(f"  {line}" for line in text[-15:]) or "  (its log is empty)"


def _ensure_automations() -> None:
    """Enter, where they are missing, the automations that mark a flow run Crashed whose process is gone."""
    from prefect.automations import Automation, EventTrigger, Posture
    from prefect.events.actions import ChangeFlowRunState
    from prefect.states import StateType

    ended = [f"prefect.flow-run.{state}" for state in ("Completed", "Failed", "Cancelled", "Crashed", "Paused")]
    beat, started = "prefect.flow-run.heartbeat", ["prefect.flow-run.Running", "prefect.flow-run.Scheduled"]
    for name, after, expect, within in (
        ("Runs whose process is gone are Crashed", beat, [beat, *ended], SILENCE_SECONDS),
        ("Runs that a worker claimed and never started are Crashed", "prefect.flow-run.Pending", [*started, *ended],
         PENDING_SECONDS),
    ):  # fmt: skip
        trigger = EventTrigger(
            posture=Posture.Proactive, match={"prefect.resource.id": "prefect.flow-run.*"},
            for_each={"prefect.resource.id"}, after={after}, expect=set(expect), threshold=1,
            within=timedelta(seconds=within),
        )  # fmt: skip
        message = f"No sign of its process for {within} s. What is finished is kept; run it again to go on from there."
        try:
            Automation.read(name=name)
        except ValueError:
            action = ChangeFlowRunState(state=StateType.CRASHED, message=message)
            Automation(name=name, trigger=trigger, actions=[action]).create()


def _deliver_history(since: datetime) -> None:
    """Send events and logs that wait in this process, then wait until the server has entered them.

    Task states reach the server through events; a server stopped too early never learns of the last ones.
    """
    from prefect.client.orchestration import get_client
    from prefect.events.worker import EventsWorker
    from prefect.logging.handlers import APILogWorker

    EventsWorker.drain_all(timeout=HISTORY_SECONDS)
    APILogWorker.drain_all(timeout=HISTORY_SECONDS)
    open_tasks: dict[str, Any] = {
        "task_runs": {
            "start_time": {"after_": since.isoformat()},
            "state": {"type": {"any_": ["PENDING", "RUNNING"]}},
        }
    }
    until, settled = time.monotonic() + HISTORY_SECONDS, 0
    with get_client(sync_client=True) as client:
        while settled < 3 and time.monotonic() < until:  # the server writes in batches, once a second
            count = client.request("POST", "/task_runs/count", json=open_tasks).json()
            settled = settled + 1 if count == 0 else 0
            time.sleep(0.5)


def serve(home: Home) -> None:
    """Serve until SIGINT, SIGTERM or `stop`: the UI, every deployment of prefect.yaml, and a worker for them.

    ServerError if this home is served already, the port is taken, or a part does not start or ends by itself.
    """
    try:
        with _locked(home.prefect / "serve.lock", fcntl.LOCK_EX | fcntl.LOCK_NB) as lock:
            lock.truncate(0)
            lock.write(str(os.getpid()))
            lock.flush()
            with running_server(home, chosen_port() or PORT) as port:
                _serve(home, port)
    except BlockingIOError:
        raise ServerError(f"{home.root} is being served already: `make stop` ends that") from None


def _serve(home: Home, port: int) -> None:
    settings = environment(home, port)
    end_worker(home)  # of a killed `serve`
    try:
        _deploy(settings)
        worker = _start_worker(home, settings)
        print(f"Serving http://127.0.0.1:{port} (state in {home.root}). Ctrl-C or `make stop` ends it.", flush=True)
        while worker.poll() is None and is_locked(home.prefect / "server.lock"):
            time.sleep(1)
        part = "server" if worker.poll() is None else "worker"
        log = home.prefect / f"{part}.log"
        raise ServerError(f"The {part} has ended. The end of {log}:\n{_tail(log)}")
    except KeyboardInterrupt:
        print("\nStopping worker and server ...", flush=True)
    finally:
        end_worker(home)


def is_locked(path: Path) -> bool:
    """Whether a process holds the file's lock."""
    try:
        with _locked(path, fcntl.LOCK_SH | fcntl.LOCK_NB):
            return False
    except BlockingIOError:
        return True


def _deploy(settings: dict[str, str]) -> None:
    """Register the work pool and the deployments, where these of this very source are not registered.

    Else what people set in the UI, a switched-on schedule for example, would be overwritten at every start.
    """
    from prefect.client.orchestration import get_client

    sha = hashlib.sha256(settings["LESIONLENS_DATA"].encode())
    for path in sorted(path for pattern in SOURCES for path in ROOT.glob(pattern)):
        sha.update(path.read_bytes())
    version = sha.hexdigest()[:12]
    with get_client(sync_client=True) as client:
        if {deployment.version for deployment in client.read_deployments()} == {version}:
            return
    print("Registering the deployments of prefect.yaml ...", flush=True)
    pool = ("work-pool", "create", POOL, "--type", "process", "--overwrite")
    for words in (pool, ("--no-prompt", "deploy", "--all")):
        done = subprocess.run(
            [sys.executable, "-m", "prefect", *words], cwd=ROOT, env=os.environ | {"LESIONLENS_VERSION": version},
            stdin=subprocess.DEVNULL, capture_output=True, text=True,
        )  # fmt: skip
        if done.returncode:
            raise ServerError(f"`prefect {' '.join(words)}` failed:\n{done.stdout[-3000:]}{done.stderr[-3000:]}")


def _start_worker(home: Home, settings: dict[str, str]) -> subprocess.Popen[bytes]:
    """A worker whose temporary files lie in the home.

    Prefect's worker writes into a folder of one fixed name in the system's temporary folder, which belongs to
    whichever user was first. And it keeps the environment of each flow run, the record's address included, in a file
    that only this user can read.
    """
    _temporary(home).mkdir(parents=True, exist_ok=True)
    command = [sys.executable, "-m", "prefect", "worker", "start", "--pool", POOL, "--type", "process"]
    command += ["--name", f"{POOL} here", "--limit", str(RUNS_AT_ONCE)]
    return _start(command, settings | {"TMPDIR": str(_temporary(home))}, ROOT, home.prefect / "worker.log")


def _temporary(home: Home) -> Path:
    return home.prefect / "tmp"


def end_worker(home: Home) -> bool:
    """Stop this home's worker and its flow runs, also those of a killed worker; False if there are none."""
    found, until = _started_by_worker(home), time.monotonic() + STOP_SECONDS
    left = found
    for process in found:
        with suppress(psutil.NoSuchProcess):
            process.terminate()
    while left and time.monotonic() < until:
        time.sleep(0.1)
        left = _started_by_worker(home)
    for process in left:
        with suppress(psutil.NoSuchProcess):
            process.kill()
    shutil.rmtree(_temporary(home), ignore_errors=True)
    return bool(found)


def _started_by_worker(home: Home) -> list[psutil.Process]:
    """Worker and flow runs: nothing else has their temporary folder. A process that ended has no environment."""
    found = []
    for process in psutil.process_iter():
        with suppress(psutil.Error):  # ended meanwhile, or another user's
            if process.environ().get("TMPDIR") == str(_temporary(home)):
                found.append(process)
    return found


def stop(home: Home) -> bool:
    """Stop what serves this home and what a killed command left behind; False if nothing did."""
    path = home.prefect / "serve.lock"
    served = path.exists() and is_locked(path)
    if served:
        os.kill(int(path.read_text()), signal.SIGTERM)  # the lock is held, so the number is that of its holder
        until = time.monotonic() + 2 * STOP_SECONDS
        while is_locked(path) and time.monotonic() < until:
            time.sleep(0.1)
    return end_worker(home) or served


def enter_source() -> dict[str, str]:
    """Pull step of every deployment: work in the folder of the source, wherever it lies on this machine."""
    os.chdir(ROOT)
    shorten_errors()
    return {"directory": str(ROOT)}
