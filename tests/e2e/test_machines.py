"""Several machines, one study; and what goes wrong while it runs. On a full PostgreSQL that carries Prefect, too."""

import os
import signal
from collections.abc import Iterator
from typing import Any
from urllib.error import HTTPError

import psutil
import pytest

from flows import local_server, processes
from lesionlens.settings import Home
from tests.e2e.cluster import Cluster, kill, study, until
from tests.full_postgres import PASSWORD, programs

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(programs() is None, reason="needs a full PostgreSQL: apt-get install postgresql"),
]


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    made = Cluster(tmp_path_factory.mktemp("cluster"))
    yield made
    made.close()


@pytest.fixture(scope="module")
def orphans() -> list[str]:
    """Flow runs whose processes were killed; the last test asks what became of them."""
    return []


def trained(cluster: Cluster, name: str) -> int:
    return cluster.postgres.number(
        "SELECT count(*) FROM epoch JOIN study_run USING (run_id) JOIN study ON study.id = study_id"
        " WHERE study.name = %s",
        name,
    )


def shares(cluster: Cluster) -> list[dict[str, Any]]:
    (deployment,) = (d["id"] for d in cluster.call("deployments/filter", {}) if d["name"] == "share")
    return [run for run in cluster.call("flow_runs/filter", {"limit": 200}) if run["deployment_id"] == deployment]


def processes_of(cluster: Cluster, home: str) -> list[psutil.Process]:
    found = []
    for process in psutil.process_iter():
        try:
            if process.environ().get("LESIONLENS_HOME") == str(cluster.folder / home / "home"):
                found.append(process)
        except psutil.Error:
            continue
    return found


def test_a_machine_dies_and_another_finishes_its_runs(cluster: Cluster, orphans: list[str]) -> None:
    other = cluster.join("other")
    number = cluster.start(study("shared", seeds=4, epochs=8, runner="workers", shares=2))
    until(
        "two machines train at once",
        lambda: cluster.postgres.number("SELECT count(*) FROM run WHERE status = 'running'") == 2,
    )
    held = {run["id"]: run for run in shares(cluster) if run["state_type"] == "RUNNING"}
    assert len(held) == 2
    kill(other.pid)
    assert processes_of(cluster, "other") == []
    assert cluster.end(number)["state_type"] == "COMPLETED"
    assert cluster.postgres.rows("SELECT status, count(*) FROM run GROUP BY status") == [("finished", 4)]
    assert trained(cluster, "shared") == 32
    assert cluster.postgres.number("SELECT count(*) FROM evaluation") == 4
    orphans += [i for i in held if cluster.run(i)["state_type"] in {"RUNNING", "CRASHED"}]
    assert len(orphans) == 1


def test_what_machines_share_is_the_database_and_the_checkpoints(cluster: Cluster) -> None:
    assert not (cluster.folder / "other" / "home" / "phantom").exists()
    assert not (cluster.folder / "other" / "home" / "checkpoints").exists()
    stored = {path.parent.name for path in (cluster.folder / "checkpoints").rglob("*.safetensors")}
    assert stored == {digest[:16] for (digest,) in cluster.postgres.rows("SELECT digest FROM run")}


def test_the_end_is_told_by_names_and_artifacts(cluster: Cluster) -> None:
    names = {run["name"] for run in cluster.call("task_runs/filter", {"limit": 200})}
    assert {f"train resnet18 simultaneous #1 seed {seed}" for seed in range(4)} <= names
    found = cluster.call("artifacts/filter", {"limit": 200})
    by_key = {artifact["key"]: artifact for artifact in found if artifact["key"]}
    assert by_key.keys() >= {"study-1-answer", "study-1-table", "study-1-report"}
    assert "# " in by_key["study-1-answer"]["data"] and "/reports/1" in by_key["study-1-answer"]["data"]
    assert by_key["study-1-table"]["data"].count('"finished"') == 4
    bars = [artifact for artifact in found if artifact["type"] == "progress"]
    assert any(bar["description"].startswith("train resnet18 simultaneous #1 seed") for bar in bars)
    assert all(0 <= bar["data"] <= 100 for bar in bars) and any(0 < bar["data"] <= 100 for bar in bars)
    assert cluster.page("reports/1").lower().startswith("<!doctype html>")


def test_a_comparison_opens_from_the_link_of_its_run(cluster: Cluster) -> None:
    number = cluster.press("compare", studies=["shared"], runs=[1, 2])
    assert cluster.end(number)["state_type"] == "COMPLETED"
    keys = [artifact["key"] for artifact in cluster.call("artifacts/filter", {"limit": 200})]
    link = next(key for key in keys if key and key.startswith("comparison-") and key.endswith("-page"))
    page = cluster.page(f"comparisons/{link.split('-')[1]}")
    assert "1 study \u00b7 2 models" in page and "<h1>Does the classifier look at the lesion?" in page
    with pytest.raises(HTTPError, match="404"):
        cluster.page("comparisons/99")


def test_cancelling_stops_training_keeps_what_is_finished_and_running_again_goes_on(cluster: Cluster) -> None:
    config = study("cancelled", seeds=1, epochs=15, first=10)
    number = cluster.start(config)
    until("three epochs", lambda: trained(cluster, "cancelled") >= 3)
    cluster.call(f"flow_runs/{number}/set_state", {"state": {"type": "CANCELLING"}})
    assert cluster.end(number)["state_type"] == "CANCELLED"
    kept = trained(cluster, "cancelled")
    assert 3 <= kept < 15
    first = cluster.postgres.rows("SELECT epoch, seconds FROM epoch JOIN run ON run.id = run_id WHERE seed = 10")
    assert cluster.end(cluster.start(config))["state_type"] == "COMPLETED"
    after = cluster.postgres.rows("SELECT epoch, seconds FROM epoch JOIN run ON run.id = run_id WHERE seed = 10")
    assert trained(cluster, "cancelled") == 15
    assert set(first) <= set(after), "epochs that were finished are not trained again"


def test_cancelling_a_study_ends_its_shares(cluster: Cluster) -> None:
    before = {run["id"] for run in shares(cluster)}
    number = cluster.start(study("shared and cancelled", seeds=2, epochs=400, first=15, runner="workers", shares=2))
    until("training has begun", lambda: trained(cluster, "shared and cancelled") >= 1)
    cluster.call(f"flow_runs/{number}/set_state", {"state": {"type": "CANCELLING"}})
    assert cluster.end(number)["state_type"] == "CANCELLED"

    def states() -> list[str]:
        return [run["state_type"] for run in shares(cluster) if run["id"] not in before]

    until("its shares have ended, the waiting one, too", lambda: states() == ["CANCELLED"] * 2)
    assert cluster.postgres.rows(
        "SELECT count(*) FROM pg_locks JOIN pg_database ON pg_database.oid = database"
        " WHERE locktype = 'advisory' AND datname = 'record'"
    ) == [(0,)]  # fmt: skip  # its slot and its run are free


def test_two_identical_studies_do_the_work_once(cluster: Cluster) -> None:
    config = study("twice", seeds=2, epochs=6, first=20)
    numbers = [cluster.start(config), cluster.start(config)]
    assert [cluster.end(number)["state_type"] for number in numbers] == ["COMPLETED"] * 2
    assert cluster.postgres.number("SELECT count(*) FROM study WHERE name = 'twice'") == 1
    assert trained(cluster, "twice") == 12
    assert cluster.postgres.number("SELECT count(*) FROM evaluation JOIN run ON run.id = run_id WHERE seed >= 20") == 2
    assert cluster.postgres.number("SELECT count(*) FROM comparison JOIN study ON study.id = study_id"
                                   " WHERE study.name = 'twice'") > 0  # fmt: skip


def test_a_device_trains_one_run_at_a_time_however_many_studies_want_it(cluster: Cluster) -> None:
    numbers = [cluster.start(study(f"rival {first}", seeds=2, epochs=6, first=first)) for first in (60, 70)]
    one, other = (cluster.end(number) for number in numbers)
    assert one["state_type"] == other["state_type"] == "COMPLETED"
    assert one["start_time"] < other["end_time"] and other["start_time"] < one["end_time"], "side by side"
    trained_at_once = cluster.postgres.rows(
        "WITH rival AS (SELECT id, started_at, finished_at FROM run WHERE seed IN (60, 61, 70, 71))"
        " SELECT count(*), (SELECT count(*) FROM rival AS a JOIN rival AS b ON a.id < b.id"
        " AND a.started_at < b.finished_at AND b.started_at < a.finished_at) FROM rival"
    )
    assert trained_at_once == [(4, 0)]


def test_a_run_that_takes_too_long_is_given_up_and_says_so(cluster: Cluster) -> None:
    number = cluster.start(study("hanging", seeds=1, epochs=5000, first=30, timeout=4))
    run = cluster.end(number)
    assert run["state_type"] == "FAILED", "its only run failed"
    assert "No run of study hanging succeeded: 1 of 1 failed. The report says why" in run["state"]["message"]
    (status, reason), = cluster.postgres.rows("SELECT status, reason FROM run WHERE seed = 30")  # fmt: skip
    assert status == "failed" and "timeout of 4" in reason


def test_an_old_configuration_is_refused_with_field_and_remedy(cluster: Cluster) -> None:
    known = {d["name"]: d for d in cluster.call("deployments/filter", {})}
    old = study("old", seeds=1, epochs=1).model_dump(mode="json")
    old["training"]["momentum"] = 0.9  # an option of yesterday
    path = f"deployments/{known['study-demo']['id']}/create_flow_run"
    body = {"parameters": {"config": old}, "enforce_parameter_schema": False}
    run = cluster.end(cluster.call(path, body)["id"])
    assert run["state_type"] == "FAILED"
    assert "training.momentum" in run["state"]["message"] and "make serve" in run["state"]["message"]


@pytest.fixture(scope="module")
def long_study(cluster: Cluster) -> str:
    """A study under way; the next tests disturb it, one after another."""
    return cluster.start(study("disturbed", seeds=2, epochs=40, first=40))


def progress(cluster: Cluster) -> None:
    """Wait until training has gone on."""
    before = trained(cluster, "disturbed")
    until("training goes on", lambda: trained(cluster, "disturbed") >= min(before + 2, 80))


def test_a_killed_worker_comes_back_and_its_study_goes_on(cluster: Cluster, long_study: str) -> None:
    until("training has begun", lambda: trained(cluster, "disturbed") >= 1)
    home = Home(cluster.folder / "main" / "home")
    words = ("worker", "start", "--pool", "lesionlens")
    worker = processes.find(words, home.prefect)
    assert worker is not None
    os.kill(worker.pid, signal.SIGKILL)

    def another() -> bool:
        found = processes.find(words, home.prefect)
        return found is not None and found.pid != worker.pid

    until("another worker", another)
    progress(cluster)


def test_a_restarted_database_delays_a_study_and_no_more(cluster: Cluster, long_study: str) -> None:
    cluster.postgres.stop("immediate")
    cluster.postgres.start()
    progress(cluster)


def test_a_restarted_server_changes_nothing(cluster: Cluster, long_study: str) -> None:
    server = local_server.find_server(Home(cluster.folder / "main" / "home"))
    assert server is not None
    os.kill(server.pid, signal.SIGKILL)
    progress(cluster)
    until("the server is back", lambda: local_server.find_server(Home(cluster.folder / "main" / "home")))
    assert cluster.end(long_study)["state_type"] == "COMPLETED"
    assert trained(cluster, "disturbed") == 80
    assert cluster.postgres.rows("SELECT DISTINCT status FROM run WHERE seed >= 40") == [("finished",)]


def test_orphans_are_crashed(cluster: Cluster, orphans: list[str]) -> None:
    for number in orphans:
        run = until("the orphan is known", lambda number=number: cluster._ended(number))
        assert run["state_type"] == "CRASHED"
        assert "No sign of life" in run["state"]["message"]


def test_the_database_s_password_is_written_down_nowhere(cluster: Cluster) -> None:
    """After all of the above: not in logs, homes, caches and artifacts, not in the record, not in Prefect's history.

    Prefect's worker keeps the environment of a flow run in a private file until the run ends, or the worker is killed.
    """
    files = [path for path in cluster.folder.rglob("*") if path.is_file()]
    assert {"main.log", "server.log", "worker-lesionlens.log"} <= {path.name for path in files}
    holding = [path for path in files if PASSWORD.encode() in path.read_bytes()]
    assert {path.name for path in holding} <= {"workspace.json"}
    assert all(path.stat().st_mode & 0o077 == 0 for path in holding)
    for database in ("record", "prefect"):
        held = cluster.postgres.dump(database)
        assert "CREATE TABLE" in held and PASSWORD not in held
