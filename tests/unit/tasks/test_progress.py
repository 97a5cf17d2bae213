"""Progress of long work in a terminal and in a log, and cancellation."""

import os
import pty
import re
import subprocess
import sys
import threading
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from uuid import uuid4

import pytest
from prefect.states import Cancelling, Running

from tasks import progress

ROOT = Path(__file__).resolve().parents[3]
WORK = """
import logging, time
import prefect.logging.configuration
prefect.logging.configuration.setup_logging()
from tasks import progress
progress.LINE_SECONDS = 0.2
with progress.progress("train the grid", "runs", 2) as outer:
    for run in (1, 2):
        with progress.progress(f"cut samples {run}", "images") as advance:
            for image in range(10):
                time.sleep(0.06)
                advance(image + 1, 10)
                if image == 4:
                    logging.getLogger("prefect.test").info("a line of the log [%d]", run)
        outer(run, 2)
"""


def environment() -> dict[str, str]:
    kept = {k: v for k, v in os.environ.items() if not k.startswith("PREFECT_")}
    return kept | {"TERM": "xterm-256color", "COLUMNS": "120", "PREFECT_LOGGING_LEVEL": "INFO"}


def test_threads_may_advance_the_same_work(capsys: pytest.CaptureFixture[str]) -> None:
    with progress.progress("decode", "images", 400) as advance:
        threads = [threading.Thread(target=lambda: [advance(n, None) for n in range(401)]) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert capsys.readouterr().err == "decode: 400 images in 0:00:00\n"


def test_what_an_earlier_attempt_did_is_not_counted_as_done_now(capsys: pytest.CaptureFixture[str]) -> None:
    with progress.progress("train", "epochs", 300, done=40) as advance:
        advance(43, None)
    assert capsys.readouterr().err.startswith("train: 3 epochs in ")


def test_what_had_nothing_to_do_says_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    with progress.progress("draw", "images"):
        pass
    assert capsys.readouterr().err == ""


def test_an_error_shows_where_the_work_stopped(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(OSError), progress.progress("decode", "images", 9) as advance:
        advance(4, None)
        raise OSError("disk")
    assert capsys.readouterr().err == "decode: stopped at 4/9 images\n"


def test_a_pipe_gets_plain_lines() -> None:
    done = subprocess.run(
        [sys.executable, "-c", WORK],
        cwd=ROOT,
        env=environment(),
        capture_output=True,
        text=True,
        timeout=120,
        check=True,
    )
    lines = done.stderr.splitlines()
    assert "\x1b" not in done.stderr and "\r" not in done.stderr
    assert any(line.startswith("cut samples 1: ") and "/10 images" in line for line in lines)
    assert sum(line.startswith("cut samples") and " in 0:00:0" in line for line in lines) == 2
    assert lines[-1].startswith("train the grid: 2 runs in ")


def test_a_terminal_gets_bars_and_whole_log_lines() -> None:
    master, slave = pty.openpty()
    process = subprocess.Popen(
        [sys.executable, "-c", WORK], cwd=ROOT, env=environment(), stdin=slave, stdout=slave, stderr=slave
    )
    os.close(slave)
    seen = b""
    while True:
        try:
            seen += os.read(master, 65536)
        except OSError:  # the other end is closed
            break
    os.close(master)
    assert process.wait(timeout=60) == 0
    text = seen.decode()
    plain = re.sub(r"\x1b\[[0-9;?]*[a-zA-Z]", "", text)
    assert "━" in text and "/10 images" in plain and "1/2 runs" in plain
    assert "\x1b[?25l" in text and text.rfind("\x1b[?25h") > text.rfind("\x1b[?25l"), "the cursor must come back"
    for run in (1, 2):
        assert f"a line of the log [{run}]" in text
        assert f"cut samples {run}: 10 images in " in text


class Client:
    """A server that knows one flow run."""

    def __init__(self, state: Any) -> None:
        self.state, self.asked = state, 0

    def __enter__(self) -> "Client":
        return self

    def __exit__(self, *_: object) -> None: ...

    def read_flow_run(self, _: object) -> Any:
        self.asked += 1
        if isinstance(self.state, Exception):
            raise self.state
        return SimpleNamespace(state=self.state)


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Makes the server that the current task's flow run is asked from."""

    def make(state: Any) -> Client:
        client = Client(state)
        task = SimpleNamespace(task_run=SimpleNamespace(flow_run_id=uuid4()))
        monkeypatch.setattr(progress, "get_client", lambda sync_client: client)
        monkeypatch.setattr(progress.TaskRunContext, "get", lambda: task)
        monkeypatch.setattr(progress, "_asked", 0.0)
        return client

    return make


def test_a_cancelled_flow_run_stops_its_task(server: Any) -> None:
    server(Cancelling())
    with pytest.raises(progress.StoppedError, match="cancelled"):
        progress.stop_if_cancelled()


@pytest.mark.parametrize("state", [Running(), ConnectionError("restarting")])
def test_work_goes_on_where_nobody_cancelled_or_nobody_answers(server: Any, state: Any) -> None:
    client = server(state)
    progress.stop_if_cancelled()
    progress.stop_if_cancelled()
    assert client.asked == 1, "the second question came within two seconds"


def test_a_line_that_would_repeat_the_last_one_is_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    """Work that stands still says so once; what it counts is in every line."""
    lines: list[str] = []
    told = threading.Event()
    monkeypatch.setattr(progress, "LINE_SECONDS", 0.01)
    monkeypatch.setattr(progress, "ASK_SECONDS", 0.01)
    monkeypatch.setattr(progress, "_log", lambda line: (lines.append(line), told.set()))
    asked = iter(range(10**6))
    turns = threading.Event()
    monkeypatch.setattr(progress, "_line", lambda task: f"{task.completed:g}")
    clock = progress.time.monotonic

    def watched() -> float:
        if next(asked) > 200:  # the follower has looked at the clock often enough
            turns.set()
        return clock()

    monkeypatch.setattr(progress.time, "monotonic", watched)
    with progress.progress("train", "epochs", 3) as advance:
        assert told.wait(60) and turns.wait(60)
        advance(1, 3)
        told.clear()
        assert told.wait(60)
    assert lines[:2] == ["0", "1"] and len(set(lines)) == len(lines)
