"""A process that has imported the science and forks commands, since every import of it takes seconds.

Prefect is not among it: it reads its settings when it is imported, which the command does once its server is chosen.
"""

import contextlib
import json
import os
import runpy
import select
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import IO

from commands.services import SCIENCE, imported
from tests.unit.thin import thin_networks

ROOT = Path(__file__).resolve().parents[2]
PATIENCE = 300.0
"""Seconds to wait for an event; generous, since other work may share the machine."""
THIN = "THIN_NETWORKS"
"""Variable of a command whose networks have an eighth of the channels; not of processes that it starts."""


class Zygote:
    """Starts the process with its first command."""

    def __init__(self) -> None:
        self._ours: socket.socket | None = None

    def start(self, words: list[str], environment: dict[str, str]) -> "Command":
        """Run `python -m WORDS` in a session of its own, with exactly this environment."""
        if self._ours is None:
            self._ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
            command = [sys.executable, "-m", "tests.system.zygote", str(theirs.fileno())]
            variables = {k: v for k, v in os.environ.items() if not k.startswith(("LESIONLENS_", "PREFECT_"))}
            subprocess.Popen(
                command, cwd=ROOT, env=variables | {"OMP_NUM_THREADS": "1"}, pass_fds=[theirs.fileno()],
                start_new_session=True,
            )  # fmt: skip
            theirs.close()
        pipes = [os.pipe() for _ in range(3)]  # output, errors, exit status
        message = json.dumps({"words": words, "environment": environment}).encode()
        socket.send_fds(self._ours, [message], [write for _, write in pipes])
        for _, write in pipes:
            os.close(write)
        return Command(int(self._ours.recv(20)), *(os.fdopen(read) for read, _ in pipes))

    def stop(self) -> None:
        """End the process; commands that still run go on."""
        if self._ours is not None:
            self._ours.close()


class Command:
    """A command under way, as subprocess.Popen has it."""

    def __init__(self, pid: int, stdout: IO[str], stderr: IO[str], status: IO[str]) -> None:
        self.pid, self.stdout, self.stderr, self._status = pid, stdout, stderr, status
        self.returncode: int | None = None

    def wait(self, timeout: float = PATIENCE) -> int:
        """The exit status. TimeoutExpired where it does not end in time."""
        if self.returncode is None:
            if not select.select([self._status], [], [], timeout)[0]:
                raise subprocess.TimeoutExpired(str(self.pid), timeout)
            self.returncode = int(self._status.read())
        return self.returncode

    def communicate(self, timeout: float = 2 * PATIENCE) -> tuple[str, str]:
        """Output and errors to the end of both. TimeoutExpired where that does not come in time."""
        found, end = {self.stdout.fileno(): b"", self.stderr.fileno(): b""}, time.monotonic() + timeout
        left = set(found)
        while left:
            ready = select.select(list(left), [], [], max(0, end - time.monotonic()))[0]
            if not ready:
                raise subprocess.TimeoutExpired(str(self.pid), timeout)
            for file in ready:
                block = os.read(file, 65536)
                found[file] += block
                left -= set() if block else {file}
        self.wait(max(0, end - time.monotonic()))
        return found[self.stdout.fileno()].decode(), found[self.stderr.fileno()].decode()

    def send_signal(self, number: int) -> None:
        if self.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                os.kill(self.pid, number)


def serve(ours: socket.socket) -> None:
    """Fork a command for every message; write each one's status where its caller reads it."""
    imported(*SCIENCE)
    waker, wakes = os.pipe()
    os.set_blocking(wakes, False)
    signal.set_wakeup_fd(wakes)
    signal.signal(signal.SIGCHLD, lambda *_: None)
    running: dict[int, int] = {}
    while True:
        ready = select.select([ours, waker], [], [])[0]
        if waker in ready:
            os.read(waker, 100)
            _report_ended(running)
        if ours in ready:
            message, files, _, _ = socket.recv_fds(ours, 1 << 20, 3)
            if not message:
                return
            output, errors, status = files
            pid = os.fork()
            if pid == 0:
                for file in (waker, wakes, status, *running.values()):
                    os.close(file)
                ours.close()
                _become(output, errors, **json.loads(message))
            running[pid] = status
            os.close(output)
            os.close(errors)
            ours.send(str(pid).encode())


def _report_ended(running: dict[int, int]) -> None:
    while running:
        pid, code = os.waitpid(-1, os.WNOHANG)
        if pid == 0:
            return
        status = running.pop(pid)
        os.write(status, str(os.waitstatus_to_exitcode(code)).encode())
        os.close(status)


def _become(output: int, errors: int, words: list[str], environment: dict[str, str]) -> None:
    """Go on as `python -m WORDS` would have started, and end."""
    signal.set_wakeup_fd(-1)
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    os.setsid()
    with Path(os.devnull).open() as nothing:
        os.dup2(nothing.fileno(), 0)
    os.dup2(output, 1)
    os.dup2(errors, 2)
    os.environ.clear()
    os.environ.update(environment)
    sys.argv = ["-m", *words[1:]]
    status: object = 0
    try:
        with thin_networks() if environment.get(THIN) else contextlib.nullcontext():
            runpy.run_module(words[0], run_name="__main__", alter_sys=True)
    except SystemExit as ended:
        status = ended.code or 0
    except BaseException:
        sys.excepthook(*sys.exc_info())
        status = 1
    # as the interpreter ends: threads, handlers, buffers
    sys.exit(status)


if __name__ == "__main__":
    serve(socket.socket(fileno=int(sys.argv[1])))
