"""The ordered map over processes, and freed memory that stays with a process."""

import json
import math
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from lesionlens.processes import AHEAD, Processes

SLEEPERS = """
import time
from lesionlens.processes import Processes
if __name__ == "__main__":
    with Processes(2) as processes:
        for _ in processes.map(time.sleep, [0, 0, 600, 600]):
            print("mapped", flush=True)
"""


@pytest.mark.parametrize("workers", [1, 2])
def test_results_come_in_the_order_of_the_jobs(workers: int) -> None:
    with Processes(workers) as processes:
        assert list(processes.map(math.sqrt, range(40))) == [math.sqrt(n) for n in range(40)]
        assert list(processes.map(math.sqrt, [])) == []


@pytest.mark.usefixtures("no_semaphores")
def test_without_semaphores_all_is_done_in_this_process(caplog: pytest.LogCaptureFixture) -> None:
    with Processes(2) as processes:
        assert list(processes.map(math.sqrt, range(4))) == [math.sqrt(n) for n in range(4)]
    assert "/dev/shm" in caplog.text


def test_jobs_are_taken_only_a_few_ahead_of_their_results() -> None:
    taken = 0

    def jobs() -> Iterator[int]:
        nonlocal taken
        for n in range(1000):
            taken += 1
            yield n

    with Processes(2) as processes:
        results = processes.map(math.sqrt, jobs())
        for n in range(5):
            next(results)
            assert taken <= 2 * AHEAD + n + 1
        results.close()  # type: ignore[attr-defined]  # a generator


def test_an_error_of_a_job_reaches_the_caller() -> None:
    with Processes(2) as processes, pytest.raises(ValueError, match="math domain error"):
        list(processes.map(math.sqrt, [1, -1, 4]))


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="reads /proc")
def test_workers_leave_with_a_killed_parent(tmp_path: Path) -> None:
    script = tmp_path / "sleepers.py"
    script.write_text(SLEEPERS)
    command = [sys.executable, str(script)]
    with subprocess.Popen(command, start_new_session=True, stdout=subprocess.PIPE, text=True) as child:
        assert child.stdout is not None
        assert [child.stdout.readline() for _ in range(2)] == ["mapped\n"] * 2
        assert len(_members(child.pid)) >= 3
        child.send_signal(signal.SIGKILL)
        assert child.wait() == -signal.SIGKILL
        deadline = time.monotonic() + 60
        while _members(child.pid) and time.monotonic() < deadline:
            time.sleep(0.02)
        assert _members(child.pid) == []


def _members(group: int) -> list[int]:
    """Processes of a group that still run."""
    found = []
    for status in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = status.read_text().rpartition(")")[2].split()
        except OSError:
            continue
        if int(fields[2]) == group and fields[0] != "Z":
            found.append(int(status.parent.name))
    return found


PROGRAM = """
import json, resource, sys
import numpy as np
from lesionlens.processes import keep_freed_memory
agreed = keep_freed_memory() if sys.argv[1] == "kept" else None
def step():
    return float(np.ones(10_000_000, np.float32).sum())  # 40 MB, which glibc gives back at once by default
step(); step()
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
values = [step() for _ in range(5)]
print(json.dumps([agreed, resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before, values]))
"""


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="a setting of glibc")
def test_steps_ask_the_system_for_no_more_memory() -> None:
    found = {}
    for way in ("kept", "given back"):
        done = subprocess.run([sys.executable, "-c", PROGRAM, way], capture_output=True, text=True, check=True)
        found[way] = json.loads(done.stdout)
    agreed, pages, values = found["kept"]
    assert agreed is True
    assert pages < found["given back"][1] / 4
    assert values == found["given back"][2]
