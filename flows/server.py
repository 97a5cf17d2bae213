"""`make serve` and `make stop`: server, work pool, deployments and a worker, until someone stops them."""

import hashlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil

from flows import local_server, processes
from flows.local_server import running_server
from flows.processes import ServerError
from lesionlens.home import Home

__all__ = ["running_server", "serve", "stop"]

POOL = "lesionlens"
WORKER = ("worker", "start", "--pool", POOL)
STOP_SECONDS = 60
SOURCES = ("prefect.yaml", "flows/*.py", "src/lesionlens/config.py")


def serve(home: Home) -> None:
    """Serve until SIGINT, SIGTERM or `stop`: UI on 127.0.0.1, every deployment of prefect.yaml, a worker.

    ServerError if this home is served already, the port is taken, or a part does not start or ends by itself.
    """
    port = local_server.chosen_port()
    with _alone(home), local_server.in_use(home), _hangup_interrupts():
        try:
            actual = local_server.ensure(home, port)
            settings = local_server.environment(home, actual)
            _register(actual, settings)
            worker = _worker(home, settings)
            print(
                f"Serving http://127.0.0.1:{actual} (state in {home.root}). Ctrl-C or `make stop` ends it.", flush=True
            )
            _watch(home, worker)
        except KeyboardInterrupt:
            print("\nStopping worker and server ...", flush=True)
        finally:
            end_worker(home)


def stop(home: Home) -> None:
    """Stop what serves this home and what a killed command left behind: first the worker, then the server."""
    holder = _holder(home)
    if holder is not None:
        holder.terminate()
        processes.wait([holder], STOP_SECONDS)
    stopped = [end_worker(home), local_server.end_server(home)]
    print("Stopped." if holder is not None or any(stopped) else "No server and no worker of this home runs here.")


def end_worker(home: Home) -> bool:
    """Stop this home's worker and the flow runs it started; False if none runs."""
    worker = processes.find(WORKER, home.prefect)
    if worker is not None:
        processes.end(worker)
    return worker is not None


@contextmanager
def _alone(home: Home) -> Iterator[None]:
    path = home.prefect / "serve.lock"
    with processes.opened(path) as file:
        if not processes.try_lock(file):
            raise ServerError(f"{home.root} is being served already: `make stop` ends that")
        file.truncate(0)
        file.write(str(os.getpid()))
        file.flush()
        yield


def _holder(home: Home) -> psutil.Process | None:
    """The process that serves this home. Its number counts only while it keeps the lock beside it."""
    path = home.prefect / "serve.lock"
    if not path.exists():
        return None
    with processes.opened(path) as file:
        if processes.try_lock(file):
            return None
        number = path.read_text()
    try:
        return psutil.Process(int(number))
    except (ValueError, psutil.NoSuchProcess):  # it is only now starting, or has just ended
        return None


@contextmanager
def _hangup_interrupts() -> Iterator[None]:
    """End as on Ctrl-C when the terminal goes away, except under nohup."""
    before = signal.getsignal(signal.SIGHUP)
    if before is signal.SIG_DFL:
        signal.signal(signal.SIGHUP, signal.default_int_handler)
    try:
        yield
    finally:
        signal.signal(signal.SIGHUP, before)


def _register(port: int, settings: dict[str, str]) -> None:
    """Make the work pool and the deployments. Those of this very source are left as people set them in the UI."""
    known = {pool["name"] for pool in local_server.call(port, "work_pools/filter", {})}
    if POOL not in known:
        _prefect(settings, "work-pool", "create", POOL, "--type", "process")
    version = source_version(settings)
    deployed = local_server.call(port, "deployments/filter", {})
    if {d["version"] for d in deployed} != {version}:
        print("Registering the deployments of prefect.yaml ...", flush=True)
        _prefect(settings | {"LESIONLENS_VERSION": version}, "--no-prompt", "deploy", "--all")


def source_version(settings: dict[str, str]) -> str:
    """Short digest of all that shapes the deployments: their file, the flows, the configuration, the folders."""
    sha = hashlib.sha256((settings["LESIONLENS_ROOT"] + "\0" + settings["LESIONLENS_DATA"]).encode())
    for pattern in SOURCES:
        for path in sorted(local_server.ROOT.glob(pattern)):
            sha.update(path.name.encode() + b"\0" + path.read_bytes())
    return sha.hexdigest()[:12]


def _prefect(settings: dict[str, str], *words: str) -> None:
    command = [sys.executable, "-m", "prefect", *words]
    done = subprocess.run(
        command,
        cwd=local_server.ROOT,
        env=os.environ | settings,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
    )
    if done.returncode:
        raise ServerError(f"`prefect {' '.join(words)}` failed:\n{done.stdout[-3000:]}{done.stderr[-3000:]}")


def _worker(home: Home, settings: dict[str, str]) -> psutil.Process:
    """The worker; one that outlived its `make serve` is stopped first, because it may serve another port.

    Its temporary files lie in the home: Prefect's worker writes into a folder of one fixed name in the system's,
    which belongs to whoever on this machine was first.
    """
    end_worker(home)
    temporary = home.prefect / "tmp"
    temporary.mkdir(exist_ok=True)
    command = [sys.executable, "-m", "prefect", *WORKER, "--type", "process", "--name", POOL]
    return processes.start(command, settings | {"TMPDIR": str(temporary)}, local_server.ROOT, _log(home))


def _log(home: Home) -> Path:
    return home.prefect / "worker.log"


def _watch(home: Home, worker: psutil.Process) -> None:
    """Wait until the server or the worker ends, which neither should."""
    running = local_server.find_server(home)
    while running is not None and processes.alive(running) and processes.alive(worker):
        time.sleep(0.5)
    part, log = ("worker", _log(home)) if not processes.alive(worker) else ("server", home.prefect / "server.log")
    raise ServerError(f"The {part} has ended. The end of {log}:\n{processes.last_lines(log)}")
