"""What people see of long work, in a terminal and in a log."""

import os
import pty
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from tasks import progress

ROOT = Path(__file__).resolve().parents[2]
WORK = """
import logging, sys, time
import prefect.logging.configuration
prefect.logging.configuration.setup_logging()
from tasks import progress
progress.LINE_SECONDS = 0.2
with progress.stage("train runs", unit="runs", total=2) as outer:
    for run in (1, 2):
        with progress.stage(f"cut patches {run}", unit="images") as advance:
            for image in range(10):
                time.sleep(0.06)
                advance(image + 1, 10)
                if image == 4:
                    logging.getLogger("prefect.test").info("a line of the log [%d]", run)
        outer(run, 2)
"""


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    now = [100.0]
    monkeypatch.setattr(progress.time, "monotonic", lambda: now[0])
    return now


def environment() -> dict[str, str]:
    kept = {k: v for k, v in os.environ.items() if not k.startswith("PREFECT_")}
    return kept | {"TERM": "xterm-256color", "COLUMNS": "120", "PREFECT_LOGGING_LEVEL": "INFO"}


def test_rate_and_time_left_follow_the_latest_past(clock: list[float]) -> None:
    current = progress.Stage("cut patches", "images", 100)
    assert current.line() == "cut patches: 0/100 images"
    clock[0] += 10
    current.advance(20)
    assert current.line() == "cut patches: 20/100 images, 2 images/s, 40 s left"
    for _ in range(100):
        clock[0] += 10
        current.advance(current.done + 1, 1000)
    assert current.line() == "cut patches: 120/1000 images, 10 s each, 2 h 26 min left"


def test_a_stage_that_goes_on_from_a_count_knows_its_own_pace(clock: list[float]) -> None:
    """A resumed run; early stopping may end it before the epochs it may have."""
    current = progress.Stage("train", "epochs", 300, done=40, at_most=True)
    assert current.line() == "train: 40/300 epochs"
    clock[0] += 10
    current.advance(41)
    assert current.line() == "train: 41/300 epochs, 10 s each, at most 43 min 10 s left"
    assert current.verdict(finished=True) == "train: 1 epochs in 10 s"


def test_a_stage_without_a_total_has_a_rate_and_no_end(clock: list[float]) -> None:
    current = progress.Stage("read", "rows", None)
    clock[0] += 1
    current.advance(5)
    assert current.line() == "read: 5 rows, 5 rows/s"


def test_a_count_that_goes_back_has_no_rate(clock: list[float]) -> None:
    current = progress.Stage("train", "epochs", 9)
    clock[0] += 1
    current.advance(3)
    clock[0] += 100
    current.advance(4)
    clock[0] += 100
    current.advance(1)
    assert current.line() == "train: 1/9 epochs"


@pytest.mark.parametrize(
    ("seconds", "words"), [(0.4, "0 s"), (59.6, "1 min 00 s"), (125, "2 min 05 s"), (12_000, "3 h 20 min")]
)
def test_durations_read_as_people_say_them(seconds: float, words: str) -> None:
    assert progress.span(seconds) == words


def test_threads_may_advance_one_stage(capsys: pytest.CaptureFixture[str]) -> None:
    with progress.stage("decode", unit="images", total=400) as advance:
        threads = [threading.Thread(target=lambda: [advance(n) for n in range(401)]) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert capsys.readouterr().err.startswith("decode: 400 images in ")


def test_an_error_says_where_the_stage_stopped(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(OSError), progress.stage("decode", unit="images", total=9) as advance:
        advance(4)
        raise OSError("disk")
    assert capsys.readouterr().err == "decode: stopped at 4/9 images\n"


def test_a_pipe_gets_plain_lines() -> None:
    done = subprocess.run(
        [sys.executable, "-c", WORK],
        cwd=ROOT,
        env=environment(),
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    lines = done.stderr.splitlines()
    assert "\x1b" not in done.stderr and "\r" not in done.stderr
    assert any(line.startswith("cut patches 1: ") and "/10 images" in line and " left" in line for line in lines)
    assert sum(line.startswith("cut patches") and " in " in line for line in lines) == 2
    assert lines[-1].startswith("train runs: 2 runs in ")


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
    assert process.wait(timeout=30) == 0
    text = seen.decode()
    assert "━" in text and "/10 images" in text and "1/2 runs" in text
    assert "\x1b[?25l" in text and text.rfind("\x1b[?25h") > text.rfind("\x1b[?25l"), "the cursor must come back"
    for run in (1, 2):
        assert f"a line of the log [{run}]" in text
        assert f"cut patches {run}: 10 images in " in text
