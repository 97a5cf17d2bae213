"""Killed at any event and started again, a study ends in the numbers of an undisturbed one."""

import signal
from collections.abc import Callable, Iterator

import psutil
import pytest

from tests.system.conftest import Home, api_of, kill_group, study, until
from tests.system.kill import EVENTS

pytestmark = pytest.mark.slow

KILLS = [event for event in EVENTS if "crashes" not in event]
NUMBERS = {
    "samples": "SELECT key, split, md5(pixels), mask_fraction FROM sample ORDER BY key",
    "epochs": "SELECT digest, epoch, phase, train_loss, validation_loss, improved FROM epoch"
    " JOIN run ON run.id = run_id ORDER BY digest, epoch",
    "checkpoints": "SELECT digest, role, epoch FROM checkpoint JOIN run ON run.id = run_id ORDER BY digest, role",
    "results": "SELECT run.digest, sample_key, predicted_code, confidence, iou, hit, energy, random_weights_iou"
    " FROM sample_results JOIN run ON run.id = run_id ORDER BY run.digest, sample_key",
    "scores": "SELECT run.digest, name, method, target, policy, population, group_name, value, low, high FROM run_score"
    " JOIN evaluation ON evaluation.id = evaluation_id JOIN run ON run.id = run_id"
    " ORDER BY 1, 2, 3, 4, 5, 6, 7",
    "comparisons": "SELECT a.digest AS a, b.digest AS b, score, difference, p_holm FROM comparison"
    " JOIN evaluation AS ea ON ea.id = evaluation_a JOIN run AS a ON a.id = ea.run_id"
    " JOIN evaluation AS eb ON eb.id = evaluation_b JOIN run AS b ON b.id = eb.run_id ORDER BY 1, 2, 3",
}  # fmt: skip


@pytest.fixture(scope="module")
def home(new_home: Callable[..., Home]) -> Iterator[Home]:
    """A home whose server outlives what is killed in it."""
    found = new_home(thin=True)
    with found.kept_server():
        yield found


def test_killed_at_five_events_a_study_ends_in_the_same_numbers(new_home: Callable[..., Home], home: Home) -> None:
    config, calm = study("killed again and again", seeds=3), new_home(thin=True)
    assert calm.study(config).returncode == 0
    for event in KILLS:
        assert home.stop_at(event, config) == -signal.SIGKILL, event
    done = home.study(config)
    assert done.returncode == 0, done.stderr[-4000:]
    for name, query in NUMBERS.items():
        undisturbed = calm.sql(query)
        assert undisturbed.height, name
        assert home.sql(query).equals(undisturbed), name


def test_a_record_that_crashes_delays_a_study_and_no_more(home: Home) -> None:
    assert home.stop_at("the record crashes after two epochs", study("crashed", epochs=4, first=10)) == 0
    trained = "SELECT count(*), count(DISTINCT epoch) FROM epoch JOIN run ON run.id = run_id WHERE seed = 10"
    assert home.sql(trained).rows() == [("4", "4")]


def test_two_identical_studies_do_the_work_once(home: Home) -> None:
    config = study("twice", seeds=2, epochs=3, first=20)
    both = [home.start(config) for _ in range(2)]
    for process in both:
        _, errors = process.communicate()
        assert process.returncode == 0, errors[-3000:]
    assert home.count("SELECT count(*) FROM study WHERE name = 'twice'") == 1
    assert home.count("SELECT count(*) FROM epoch JOIN run ON run.id = run_id WHERE seed >= 20") == 6
    assert home.count("SELECT count(*) FROM evaluation JOIN run ON run.id = run_id WHERE seed >= 20") == 2
    assert home.count("SELECT count(*) FROM comparison JOIN study ON study.id = study_id WHERE name = 'twice'") > 0
    overlap = (
        "SELECT count(*) FROM run AS a JOIN run AS b ON a.id < b.id AND a.started_at < b.finished_at"
        " AND b.started_at < a.finished_at WHERE a.seed >= 20 AND b.seed >= 20"
    )
    assert home.count(overlap) == 0, "runs_per_device is 1: the device trains one run at a time"


def under_way(home: Home, first: int, runs: int) -> bool:
    query = f"SELECT count(DISTINCT run_id) FROM epoch JOIN run ON run.id = run_id WHERE seed >= {first}"  # noqa: S608
    return home.count(query) == runs


def side_by_side(home: Home) -> list[psutil.Process]:
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


def test_runs_side_by_side_end_with_their_study(home: Home) -> None:
    """One that went on alone would keep its slot, its run and its memory."""
    process = home.start(study("killed", seeds=2, epochs=1000, first=30), LESIONLENS_RUNS_PER_DEVICE="2")
    try:
        until("both runs train", lambda: under_way(home, 30, 2))
        assert len(side_by_side(home)) == 2
    finally:
        kill_group(process)
    until("its processes have ended", lambda: not side_by_side(home))


def test_an_interrupt_ends_a_study_and_its_runs_and_says_how_to_go_on(home: Home) -> None:
    process = home.start(study("stopped", seeds=2, epochs=1000, first=40), LESIONLENS_RUNS_PER_DEVICE="2")
    try:
        until("both runs train", lambda: under_way(home, 40, 2))
        process.send_signal(signal.SIGTERM)
        _, errors = process.communicate()
    finally:
        kill_group(process)
    assert process.returncode == 130
    assert "the same command goes on from here" in errors
    until("its processes have ended", lambda: not side_by_side(home))


def test_cancelling_in_the_ui_stops_a_study_that_was_started_in_a_terminal(home: Home) -> None:
    process = home.start(study("cancelled", epochs=1000, first=50))
    try:
        until("training has begun", lambda: under_way(home, 50, 1))
        user, _, word = (home.path / "prefect" / "login").read_text().strip().partition(":")
        with api_of(home.port, "/api", (user, word)) as api:
            runs = api.post("/flow_runs/filter", json={}).json()
            number = next(run["id"] for run in runs if run["name"] == "study cancelled")
            api.post(f"/flow_runs/{number}/set_state", json={"state": {"type": "CANCELLING"}}).raise_for_status()
            _, errors = process.communicate()
            state = api.get(f"/flow_runs/{number}").json()["state"]
    finally:
        kill_group(process)
    assert process.returncode == 130
    assert "the same command goes on from here" in errors and "Traceback" not in errors
    assert (state["type"], state["message"]) == ("CANCELLED", "Cancelled in the UI; what is finished is kept")
    assert home.sql("SELECT status FROM run WHERE seed = 50").rows() == [("running",)]


def test_every_run_given_up_is_a_failed_study_that_can_be_run_again(home: Home) -> None:
    config = study("hasty", epochs=2, first=60)
    done = home.study(config, LESIONLENS_RUN_TIMEOUT="0.05")
    assert done.returncode == 2
    assert done.stderr.splitlines()[-1].startswith("lesionlens: No run of study hasty succeeded: 1 of 1 failed.")
    ((status, reason),) = home.sql("SELECT status, reason FROM run WHERE seed = 60").rows()
    assert status == "failed" and "timeout of 0.05" in reason
    assert home.study(config).returncode == 0
    assert home.sql("SELECT status FROM run WHERE seed = 60").rows() == [("finished",)]
