"""What becomes of a server that cannot start."""

import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import IO

import pytest

from flows import server
from lesionlens.settings import Home


@pytest.fixture
def taken(monkeypatch: pytest.MonkeyPatch) -> Iterator[int]:
    """A port on which somebody else listens, named as ours."""
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = int(other.getsockname()[1])
        monkeypatch.setenv("LESIONLENS_PORT", str(port))
        yield port


def test_a_taken_port_is_named_where_it_was_asked_for_and_left_where_any_will_do(taken: int) -> None:
    with pytest.raises(server.ServerError, match=f"Port {taken} is taken .* LESIONLENS_PORT"):
        server._free_port(any_port=False)
    assert server._free_port(any_port=True) != taken


def test_a_server_that_ends_at_once_is_an_error_with_the_end_of_its_log(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    begun = list[int]()

    def fail(_module: list[str], _variables: dict[str, str], log: Path, *inherited: IO[str]) -> None:
        begun.append(os.getpid())
        log.write_text("starting\nno such module\n")
        files = [file.fileno() for file in inherited]
        subprocess.run([sys.executable, "-S", "-c", "pass"], pass_fds=files, check=True)

    monkeypatch.setattr(server, "start", fail)
    with pytest.raises(server.ServerError, match=r"ended while it started(.|\n)*no such module"):
        server._ensure_server(Home(tmp_path), any_port=True, meanwhile=lambda: None)
    assert len(begun) == 1, "it is not tried again"


def test_what_can_be_done_while_a_server_starts_is_done_then_and_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    done = list[str]()

    def start(_module: list[str], _variables: dict[str, str], _log: Path, *inherited: IO[str]) -> None:
        files = [file.fileno() for file in inherited]
        wait = "import sys; sys.stdin.read()"
        running.append(subprocess.Popen([sys.executable, "-S", "-c", wait], pass_fds=files, stdin=subprocess.PIPE))
        done.append("started")

    def answers(_home: Home, _port: int) -> bool:
        done.append("asked")
        return done.count("asked") > 1

    running = list[subprocess.Popen[bytes]]()
    monkeypatch.setattr(server, "start", start)
    monkeypatch.setattr(server, "_is_healthy", answers)
    try:
        for _ in range(2):
            server._ensure_server(Home(tmp_path), any_port=True, meanwhile=lambda: done.append("meanwhile"))
    finally:
        for process in running:
            process.communicate()
    assert done == ["started", "meanwhile", "asked", "asked", "asked"]
