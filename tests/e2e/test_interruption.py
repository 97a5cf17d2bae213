"""Killed at any moment and started again, a study ends in the numbers of an undisturbed one."""

import random
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from typing import Any

import psutil
import pytest

from flows import local_server
from lesionlens.settings import Home
from tests.e2e.cluster import study, until

pytestmark = pytest.mark.slow

NUMBERS = {
    "patches": "SELECT key, part, md5(pixels), mask_fraction FROM sample ORDER BY key",
    "epochs": "SELECT digest, epoch, phase, train_loss, validation_loss, improved FROM epoch"
    " JOIN run ON run.id = run_id ORDER BY digest, epoch",
    "checkpoints": "SELECT digest, role, epoch FROM checkpoint JOIN run ON run.id = run_id ORDER BY digest, role",
    "samples": "SELECT run.digest, sample_key, predicted_code, confidence, iou, hit, energy, random_weights_iou"
    " FROM sample_results JOIN run ON run.id = run_id ORDER BY run.digest, sample_key",
    "scores": "SELECT run.digest, name, method, target, policy, population, group_name, value, low, high FROM run_score"
    " JOIN evaluation ON evaluation.id = evaluation_id JOIN run ON run.id = run_id"
    " ORDER BY 1, 2, 3, 4, 5, 6, 7",
    "comparisons": "SELECT a.digest, b.digest, score, difference, p_holm FROM comparison"
    " JOIN evaluation AS ea ON ea.id = evaluation_a JOIN run AS a ON a.id = ea.run_id"
    " JOIN evaluation AS eb ON eb.id = evaluation_b JOIN run AS b ON b.id = eb.run_id ORDER BY 1, 2, 3",
}  # fmt: skip


def numbers(home: Any) -> dict[str, list[tuple[str, ...]]]:
    return {name: home.sql(query).rows() for name, query in NUMBERS.items()}


def test_five_kills_change_no_number(finished: Any, new_home: Any, kill_group: Any) -> None:
    home = new_home()
    moments = random.Random(2024)
    for lower in (2, 12, 16, 20, 24):
        process = home.start()
        time.sleep(moments.uniform(lower, lower + 4))
        kill_group(process)
    done = home.study()
    assert done.returncode == 0, done.stderr[-4000:]
    undisturbed, resumed = numbers(finished), numbers(home)
    for name in NUMBERS:
        assert undisturbed[name], name
        assert resumed[name] == undisturbed[name], name


def test_an_interrupt_says_how_to_go_on(new_home: Any) -> None:
    home = new_home()
    process = home.start(capture=True)
    time.sleep(15)
    process.send_signal(signal.SIGTERM)
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 130
    assert b"the same command goes on from here" in errors


@pytest.fixture
def begin(new_home: Any, kill_group: Any) -> Iterator[Callable[[int], tuple[Any, subprocess.Popen[bytes]]]]:
    """Starts a study of two long runs, so many at once, in a terminal; comes back when both are under way."""
    started: list[subprocess.Popen[bytes]] = []

    def make(at_once: int) -> tuple[Any, subprocess.Popen[bytes]]:
        home = new_home()
        home.config.write_text(study("long", seeds=2, epochs=400, runs_per_device=at_once).model_dump_json())
        started.append(home.start(capture=True))
        until("training has begun", lambda: running(home) == at_once)
        return home, started[-1]

    yield make
    for process in started:
        kill_group(process)


def running(home: Any) -> int:
    """How many runs have an epoch; 0 while the record is not there yet."""
    done = home.run("db.cli", "psql", "--csv", "-c", "SELECT count(DISTINCT run_id) FROM epoch")
    return int(done.stdout.split()[-1]) if done.returncode == 0 and done.stdout else 0


def side_by_side(home: Any) -> list[psutil.Process]:
    """Processes of this home that a study started for its runs."""
    found = []
    for process in psutil.process_iter():
        try:
            ours = process.environ().get("LESIONLENS_HOME") == str(home.path)
            if ours and any("spawn_main" in word for word in process.cmdline()):
                found.append(process)
        except psutil.Error:
            continue
    return found


@pytest.mark.parametrize("sent", [signal.SIGTERM, signal.SIGKILL])
def test_runs_side_by_side_end_with_their_study(begin: Any, sent: signal.Signals) -> None:
    """One that went on alone would keep its slot, its run and its memory."""
    home, process = begin(2)
    assert len(side_by_side(home)) == 2
    process.send_signal(sent)
    process.wait(timeout=60)
    until("its processes have ended", lambda: not side_by_side(home), patience=10)
    assert process.returncode == (130 if sent == signal.SIGTERM else -signal.SIGKILL)


def test_cancelling_in_the_ui_stops_a_study_that_was_started_in_a_terminal(begin: Any) -> None:
    home, process = begin(1)
    server = local_server.find_server(Home(home.path))
    assert server is not None
    port = local_server.port_of(server)
    run = next(run for run in local_server.call(port, "flow_runs/filter", {}) if run["name"] == "study long")
    with local_server.in_use(Home(home.path)):  # the server stays to be asked
        local_server.call(port, f"flow_runs/{run['id']}/set_state", {"state": {"type": "CANCELLING"}})
        _, errors = process.communicate(timeout=120)
        state = local_server.call(port, f"flow_runs/{run['id']}")["state"]
    assert process.returncode == 130
    assert b"the same command goes on from here" in errors and b"Traceback" not in errors
    assert (state["type"], state["message"]) == ("CANCELLED", "Cancelled in the UI; what is finished is kept")
    assert home.sql("SELECT DISTINCT status FROM run ORDER BY 1").to_series().to_list() == ["pending", "running"]
