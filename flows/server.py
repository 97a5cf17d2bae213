"""`make serve` and `make stop`: server, work pools, deployments and workers, until someone stops them."""

import hashlib
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil

from flows import local_server, processes
from flows.automations import HEARTBEAT_SECONDS
from flows.local_server import running_server
from flows.processes import ServerError
from lesionlens.settings import Home

__all__ = ["running_server", "serve", "stop", "work"]

POOL = "lesionlens"
"""What people start: studies and their stages."""
SHARES = "lesionlens-shares"
"""What studies hand out to whichever machine is free. A pool of its own: a study that waits takes no place in it."""
LIMITS = {POOL: 8, SHARES: 1}
"""Flow runs at once per pool on this machine; each is a process of about half a gigabyte. The rest waits its turn."""
WORKER = ("worker", "start", "--pool")
RUNNING = ("-m", "prefect.engine")
STOP_SECONDS = 60
RESTART_SECONDS = 20
"""A part that ends sooner than this after its start is not started again."""
SHARED = ("LESIONLENS_DATABASE_URL", "LESIONLENS_CHECKPOINTS")
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
            end_workers(home)  # one that outlived its `make serve` may serve another port
            workers = {pool: start_worker(home, settings, pool) for pool in LIMITS}
            print(
                f"Serving http://127.0.0.1:{actual} (state in {home.root}). Ctrl-C or `make stop` ends it.", flush=True
            )
            _watch(home, actual, workers)
        except KeyboardInterrupt:
            print("\nStopping workers and server ...", flush=True)
        finally:
            end_workers(home)


def stop(home: Home) -> None:
    """Stop what serves this home and what a killed command left behind: first the workers, then the server."""
    holder = _holder(home)
    if holder is not None:
        holder.terminate()
        processes.wait([holder], STOP_SECONDS)
    stopped = [end_workers(home), local_server.end_server(home)]
    print("Stopped." if holder is not None or any(stopped) else "No server and no worker of this home runs here.")


def work(limit: int) -> None:
    """Take shares of studies from a server elsewhere, `limit` at once, until stopped; becomes Prefect's worker.

    ValueError unless PREFECT_API_URL, LESIONLENS_DATABASE_URL and LESIONLENS_CHECKPOINTS name what all machines share.
    """
    missing = [name for name in ("PREFECT_API_URL", *SHARED) if not os.environ.get(name)]
    if missing:
        raise ValueError(f"a worker shares server, record and checkpoints with others: set {', '.join(missing)}")
    os.environ["PREFECT_FLOWS_HEARTBEAT_FREQUENCY"] = str(HEARTBEAT_SECONDS)
    name = f"{socket.gethostname()}-{os.getpid()}"
    words = ["-m", "prefect", *WORKER, SHARES, "--type", "process", "--limit", str(limit), "--name", name]
    os.chdir(local_server.ROOT)
    os.execv(sys.executable, [sys.executable, *words])


def end_workers(home: Home) -> bool:
    """Stop this home's workers and the flow runs they started, also those of a killed worker; False if none runs."""
    ended = False
    for words in (WORKER, RUNNING):
        while (process := processes.find(words, home.prefect)) is not None:
            processes.end(process)
            ended = True
    shutil.rmtree(home.prefect / "tmp", ignore_errors=True)
    return ended


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
    for pool in LIMITS.keys() - known:
        _prefect(settings, "work-pool", "create", pool, "--type", "process")
    version = source_version(settings)
    deployed = local_server.call(port, "deployments/filter", {})
    if {d["version"] for d in deployed} != {version}:
        print("Registering the deployments of prefect.yaml ...", flush=True)
        _prefect(settings | {"LESIONLENS_VERSION": version}, "--no-prompt", "deploy", "--all")


def source_version(settings: dict[str, str]) -> str:
    """Short digest of all that shapes the deployments: their file, the flows, the configuration, the data folder."""
    sha = hashlib.sha256(settings["LESIONLENS_DATA"].encode())
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


def start_worker(home: Home, settings: dict[str, str], pool: str) -> psutil.Process:
    """A worker of this home for one pool.

    Its temporary files lie in the home: Prefect's worker writes into a folder of one fixed name in the system's,
    which belongs to whoever on this machine was first. And it keeps the environment of each flow run under way in a
    file that only this user can read, the record's address included: what a killed worker left of these is removed.
    """
    temporary = home.prefect / "tmp" / pool
    temporary.mkdir(parents=True, exist_ok=True)
    for left in temporary.glob("prefect-workspace-attempt-*"):
        shutil.rmtree(left, ignore_errors=True)
    command = [sys.executable, "-m", "prefect", *WORKER, pool, "--type", "process", "--name", f"{pool} here"]
    command += ["--limit", str(LIMITS[pool])]
    return processes.start(command, settings | {"TMPDIR": str(temporary)}, local_server.ROOT, _log(home, pool))


def _log(home: Home, pool: str) -> Path:
    return home.prefect / f"worker-{pool}.log"


def _watch(home: Home, port: int, workers: dict[str, psutil.Process]) -> None:
    """Start the server or a worker again when it ends; ServerError if one does not last."""
    begun = dict.fromkeys(("server", *workers), time.monotonic())
    while True:
        time.sleep(0.5)
        if local_server.find_server(home) is None:
            _complain_if_young("server", home.prefect / "server.log", begun["server"])
            local_server.ensure(home, port, local_server.PORT_SECONDS)
            begun["server"] = time.monotonic()
        for pool, worker in workers.items():
            if not processes.alive(worker):
                _complain_if_young(f"worker of pool {pool}", _log(home, pool), begun[pool])
                workers[pool] = start_worker(home, local_server.environment(home, port), pool)
                begun[pool] = time.monotonic()


def _complain_if_young(part: str, log: Path, begun: float) -> None:
    if time.monotonic() - begun < RESTART_SECONDS:
        raise ServerError(f"The {part} has ended. The end of {log}:\n{processes.last_lines(log)}")
    print(f"The {part} has ended and is started again (its log: {log}).", flush=True)
