"""`make serve` and `make stop`: the server, the deployments of prefect.yaml, and one worker for them."""

import fcntl
import hashlib
import os
import shutil
import signal
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path

import psutil

from db.postgres.server import short_folder
from flows.environment import ServerError, environment, fits, login
from flows.server import ROOT, is_locked, locked, running_server, start, tail
from lesionlens.settings import Home

POOL = "lesionlens"
RUNS_AT_ONCE = 8
"""Flow runs of the worker at once; each is a process of about half a gigabyte. The rest waits."""
STOP_SECONDS = 30
SOURCES = ("prefect.yaml", "flows/*.py", "src/lesionlens/config/*.py")
"""What the deployments depend on."""


def serve(home: Home) -> None:
    """Serve until SIGINT, SIGTERM or `stop`: the UI, every deployment of prefect.yaml, and a worker for them.

    ServerError if this home is served already, the port is taken, or a part does not start or ends by itself.
    """
    try:
        with locked(home.prefect / "serve.lock", fcntl.LOCK_EX | fcntl.LOCK_NB) as lock:
            lock.truncate(0)
            lock.write(str(os.getpid()))
            lock.flush()
            with running_server(home, any_port=False) as port:
                _serve(home, port)
    except BlockingIOError:
        raise ServerError(f"{home.root} is being served already: `make stop` ends that") from None


def _serve(home: Home, port: int) -> None:
    end_worker(home)  # of a killed `serve`
    try:
        variables = environment(home, port)
        _deploy(variables)
        worker = _start_worker(home, variables)
        print(
            f"Serving http://127.0.0.1:{port} (state in {home.root}). Ctrl-C or `make stop` ends it.\n"
            f"Reports of all studies: http://127.0.0.1:{port}/reports\n"
            f"The page asks for a login: {login(home)} (kept in {home.prefect / 'login'})", flush=True,
        )  # fmt: skip
        while worker.poll() is None and is_locked(home.prefect / "server.lock"):
            time.sleep(1)
        part = "server" if worker.poll() is None else "worker"
        log = home.prefect / f"{part}.log"
        raise ServerError(f"The {part} has ended. The end of {log}:\n{tail(log)}")
    except KeyboardInterrupt:
        print("\nStopping worker and server ...", flush=True)
    finally:
        end_worker(home)


def _deploy(variables: dict[str, str]) -> None:
    """Register the work pool and the deployments, unless those of this very source are registered.

    Registering resets what people set in the UI, a switched-on schedule for example.
    """
    from prefect.client.orchestration import get_client

    sha = hashlib.sha256(variables["LESIONLENS_DATA"].encode())
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


def _start_worker(home: Home, variables: dict[str, str]) -> subprocess.Popen[bytes]:
    """A worker whose temporary files lie in the home.

    Prefect's worker writes into a folder of one fixed name in the system's temporary folder, which belongs to
    whichever user was first. And it keeps the environment of each flow run, the record's address included, in a file
    that only this user can read.
    """
    _temporary(home).mkdir(parents=True, exist_ok=True)
    command = ["prefect", "worker", "start", "--pool", POOL, "--type", "process", "--name", f"{POOL} here"]
    command += ["--limit", str(RUNS_AT_ONCE)]
    return start(command, variables | {"TMPDIR": str(_temporary(home))}, home.prefect / "worker.log")


def _temporary(home: Home) -> Path:
    folder = home.prefect / "tmp"
    return folder if fits(folder) else short_folder(folder, os.geteuid(), os.getegid())


def end_worker(home: Home) -> bool:
    """Stop this home's worker and its flow runs, also those of a killed worker; False if there are none."""
    found, until = _with_our_temporary(home), time.monotonic() + STOP_SECONDS
    left = found
    for process in found:
        with suppress(psutil.NoSuchProcess):
            process.terminate()
    while left and time.monotonic() < until:
        time.sleep(0.1)
        left = _with_our_temporary(home)
    for process in left:
        with suppress(psutil.NoSuchProcess):
            process.kill()
    shutil.rmtree(_temporary(home), ignore_errors=True)
    return bool(found)


def _with_our_temporary(home: Home) -> list[psutil.Process]:
    """Worker and flow runs: nothing else has their temporary folder. A process that ended has no environment."""
    found = []
    for process in psutil.process_iter():
        with suppress(psutil.Error):  # ended meanwhile, or another user's
            if process.environ().get("TMPDIR") == str(_temporary(home)):
                found.append(process)
    return found


def stop(home: Home) -> bool:
    """Stop what serves this home and what a killed command left behind; False if there is nothing to stop."""
    path = home.prefect / "serve.lock"
    served = path.exists() and is_locked(path)
    if served:
        os.kill(int(path.read_text()), signal.SIGTERM)  # the lock is held, so the number is its holder's
        until = time.monotonic() + 2 * STOP_SECONDS
        while is_locked(path) and time.monotonic() < until:
            time.sleep(0.1)
    return end_worker(home) or served


def enter_source() -> dict[str, str]:
    """Pull step of every deployment: work in the folder of the source, wherever it lies on this machine."""
    os.chdir(ROOT)
    return {"directory": str(ROOT)}
