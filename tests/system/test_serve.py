"""Under `serve`: deployments through the API, forms, pages, restarts, and what becomes of lost processes."""

import base64
import json
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from typing import Any
from uuid import uuid4

import httpx
import psutil
import pytest
from websockets import Origin, Subprotocol
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.sync.client import connect

from flows.serve import _with_our_temporary
from flows.server import is_locked
from lesionlens.settings import Home as Folders
from tests.system.conftest import ROOT, Home, api_of, study, until

pytestmark = pytest.mark.slow

ENDED = {"COMPLETED", "FAILED", "CRASHED", "CANCELLED"}
PASSWORD = "b4ttery-st4ple"


class Served:
    """A home under `lesionlens serve`, and its API."""

    def __init__(self, home: Home, **variables: str) -> None:
        self.home, self.folders = home, Folders(home.path)
        self.variables = variables
        self.web = api_of(home.port)
        self.lost, self.abandoned, self.printed = "", "", ""

    def start(self) -> subprocess.Popen[str]:
        process = subprocess.Popen(
            [sys.executable, "-m", "commands", "serve"], cwd=ROOT, env=self.home.environment | self.variables,
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
        )  # fmt: skip
        assert process.stdout is not None
        lines = ""
        for line in process.stdout:
            lines += line
            if line.startswith("The page asks for a login: "):
                self.printed = line.split()[6]
                self.web.auth = (*self.printed.split(":"),)  # as a browser reads what a person types
                return process
        raise AssertionError(lines)

    def post(self, path: str, body: dict[str, Any]) -> Any:
        return self.web.post(f"/api/{path}", json=body).raise_for_status().json()

    def deployments(self) -> dict[str, dict[str, Any]]:
        return {found["name"]: found for found in self.post("deployments/filter", {})}

    def press(self, name: str, **parameters: Any) -> str:
        """Press Run on a deployment; returns the flow run's id."""
        number = self.deployments()[name]["id"]
        return str(self.post(f"deployments/{number}/create_flow_run", {"parameters": parameters})["id"])

    def end(self, number: str) -> dict[str, Any]:
        """Wait for the end of a flow run."""

        def ended() -> dict[str, Any] | None:
            run = self.web.get(f"/api/flow_runs/{number}").json()
            return run if run["state_type"] in ENDED else None

        return dict(until("the flow run ends", ended))

    def lose(self) -> str:
        """Enter a flow run that gives one sign of life and no other; returns its id."""
        flow = self.post("flows/", {"name": "lost"})
        run = self.post("flow_runs/", {"flow_id": flow["id"], "state": {"type": "RUNNING", "name": "Running"}})
        beat = {
            "id": str(uuid4()),
            "occurred": datetime.now(UTC).isoformat(),
            "event": "prefect.flow-run.heartbeat",
            "resource": {"prefect.resource.id": f"prefect.flow-run.{run['id']}", "prefect.resource.name": "lost"},
            "payload": {},
        }
        self.web.post("/api/events", json=[beat]).raise_for_status()
        return str(run["id"])

    def logs(self, number: str) -> str:
        """The messages of a flow run; they reach the server after its state does."""
        found = self.post("logs/filter", {"logs": {"flow_run_id": {"any_": [number]}}, "limit": 200})
        return "\n".join(log["message"] for log in found)

    def artifacts(self, number: str) -> dict[str, Any]:
        found = self.post("artifacts/filter", {"artifacts": {"flow_run_id": {"any_": [number]}}, "limit": 200})
        return {artifact["key"] or f"progress {n}": artifact for n, artifact in enumerate(found)}


@pytest.fixture(scope="module")
def served(new_home: Callable[..., Home], new_database: Callable[..., str]) -> Iterator[Served]:
    """A served home whose record is on a server that is named with a password."""
    url = new_database().replace("postgres@/", f"postgres:{PASSWORD}@/")
    assert PASSWORD in url
    place = Served(new_home(), LESIONLENS_DATABASE_URL=url)
    process = place.start()
    place.lost, place.abandoned = place.lose(), place.lose()
    place.post(f"flow_runs/{place.abandoned}/set_state", {"state": {"type": "CANCELLING"}})
    yield place
    place.home.stop()
    process.wait(timeout=60)


FOREIGN = {
    "no login": ({}, None),
    "another login": ({}, ("lesionlens", "guess")),
    "the page of another site": ({"Origin": "https://evil.example"}, "own"),
    "a page without an origin": ({"Origin": "null"}, "own"),
    "a page of another port": ({"Origin": "http://127.0.0.1:8888"}, "own"),
    "another name of this machine": ({"Host": "evil.example"}, "own"),
}
DOORS = (("GET", "/api/deployments/name/none/none"), ("POST", "/api/deployments/filter"), ("GET", "/reports/1"),
         ("GET", "/reports"), ("GET", "/comparisons/1"), ("GET", "/api/admin/settings"))  # fmt: skip


@pytest.mark.parametrize(("headers", "login"), FOREIGN.values(), ids=FOREIGN)
def test_nobody_else_gets_in(headers: dict[str, str], login: Any, served: Served) -> None:
    auth = httpx.BasicAuth(*served.printed.split(":")) if login == "own" else login and httpx.BasicAuth(*login)
    stranger = httpx.Client(base_url=served.web.base_url, trust_env=False, timeout=60, auth=auth)
    for method, path in DOORS:
        answer = stranger.request(method, path, json={} if method == "POST" else None, headers=headers)
        assert answer.status_code in (400, 401, 403), path
        assert "access-control-allow-origin" not in answer.headers


def test_a_page_of_another_site_may_ask_for_nothing(served: Served) -> None:
    """What a browser asks before it sends a request with a login or JSON."""
    asked = {"Access-Control-Request-Method": "POST", "Access-Control-Request-Headers": "authorization,content-type"}
    foreign = served.web.options("/api/deployments/", headers=asked | {"Origin": "https://evil.example"})
    assert foreign.status_code == 403 and "access-control-allow-origin" not in foreign.headers
    own = str(served.web.base_url)
    allowed = served.web.options("/api/deployments/", headers=asked | {"Origin": own})
    assert allowed.headers["access-control-allow-origin"] == own
    assert served.web.post("/api/deployments/filter", json={}, headers={"Origin": own}).status_code == 200


def test_a_socket_needs_the_login_too(served: Served) -> None:
    address = f"ws://127.0.0.1:{served.home.port}/api/events/out"
    with connect(address, subprotocols=[Subprotocol("prefect")], proxy=None) as stranger:
        stranger.send(json.dumps({"type": "auth", "token": "guess"}))
        with pytest.raises(ConnectionClosed):
            while True:
                assert json.loads(stranger.recv(timeout=60))["type"] not in ("auth_success", "event")
    with pytest.raises(InvalidStatus, match="403"):
        connect(address, origin=Origin("https://evil.example"), subprotocols=[Subprotocol("prefect")], proxy=None)


def test_a_browser_is_asked_for_the_login_of_a_report(served: Served) -> None:
    asked = httpx.get(f"{served.web.base_url}/reports/1", trust_env=False)
    assert asked.status_code == 401 and asked.headers["www-authenticate"].startswith("Basic")
    assert httpx.get(f"{served.web.base_url}/ui-settings", trust_env=False).json()["auth"] == "BASIC"


def test_a_wrong_value_is_refused_with_field_and_reason(served: Served) -> None:
    number = served.deployments()["study-sound"]["id"]
    refused = served.web.post(
        f"/api/deployments/{number}/create_flow_run", json={"parameters": {"data": "/data", "strategies": ["sideways"]}}
    )
    assert refused.status_code == 409 or refused.status_code == 422
    assert "strategies" in refused.text and "sideways" in refused.text


def test_the_deployments_name_the_data_folder_of_this_home(served: Served) -> None:
    assert served.deployments()["study-sound"]["parameters"] == {"data": str(served.home.path / "cbis-ddsm")}


def test_a_study_through_the_worker_ends_with_its_result(served: Served) -> None:
    number = served.press("study", config=study("pressed", seeds=1).model_dump(mode="json"))
    run = served.end(number)
    assert (run["state_type"], run["name"]) == ("COMPLETED", "study pressed"), run["state"]
    artifacts = served.artifacts(number)
    assert {"study-1-samples", "study-1-training", "study-1-report"} <= set(artifacts)
    assert "(/reports/1)" in artifacts["study-1-report"]["data"], "a link that holds whatever the port"
    bars = [found for found in artifacts.values() if found["type"] == "progress"]
    assert any(bar["description"].startswith("train resnet18 simultaneous #1 seed 0") for bar in bars)
    until("the log tells what was done", lambda: "draw phantom mammograms: " in served.logs(number))
    assert served.web.get("/reports/1").text.lower().startswith("<!doctype html>")
    assert served.web.get("/reports/99").status_code == 404
    index = served.web.get("/reports").text
    assert 'href="/reports/1">pressed<' in index and f"/runs/flow-run/{number}" in index and "detection " in index
    compared = served.press("compare", studies=["pressed"])
    assert served.end(compared)["state_type"] == "COMPLETED"
    page = next(key for key in served.artifacts(compared) if key.endswith("-page"))
    assert "1 study" in served.web.get(f"/comparisons/{page.split('-')[1]}").text


def test_an_error_with_a_remedy_is_one_line_in_the_log(served: Served) -> None:
    number = served.press("study-sound", data=str(served.home.path / "nowhere"))
    run = served.end(number)
    assert run["state_type"] == "FAILED" and "nowhere" in run["state"]["message"]
    until("the reason is in the log", lambda: "nowhere" in served.logs(number))
    assert "Traceback" not in served.logs(number)


def test_cancelling_ends_training_and_frees_its_run(served: Served) -> None:
    number = served.press("study", config=study("cancelled", epochs=1000, first=10).model_dump(mode="json"))
    training = "train resnet18 simultaneous #1 seed 10"

    def begun() -> bool:
        bars = served.artifacts(number).values()
        return any(
            bar["description"].startswith(training) and bar["data"] > 0 for bar in bars if bar["type"] == "progress"
        )

    until("training has begun", begun)
    served.post(f"flow_runs/{number}/set_state", {"state": {"type": "CANCELLING"}})
    assert served.end(number)["state_type"] == "CANCELLED"


def test_a_flow_run_whose_process_is_gone_is_crashed(served: Served) -> None:
    """It began when the server came up, so that the other tests use the time that it is waited for."""
    found = served.end(served.lost)
    assert found["state_type"] == "CRASHED" and "No sign of its process" in found["state"]["message"]


def test_a_cancelled_flow_run_whose_process_is_gone_is_cancelled(served: Served) -> None:
    assert served.end(served.abandoned)["state_type"] == "CANCELLED"


def test_the_server_has_analytics_off_and_talks_to_this_machine_only(served: Served) -> None:
    assert served.web.get("/api/admin/settings").json()["server"]["analytics_enabled"] is False
    ours = [process for process in psutil.process_iter() if _is_of(process, served)]
    assert len(ours) >= 3, "serve, server and worker"
    for process in ours:
        peers = {connection.raddr.ip for connection in process.net_connections(kind="inet") if connection.raddr}
        assert peers <= {"127.0.0.1"}


def _is_of(process: psutil.Process, served: Served) -> bool:
    try:
        return process.environ().get("LESIONLENS_HOME") == str(served.home.path)
    except psutil.Error:
        return False


def test_a_restart_repeats_nothing_keeps_what_people_set_and_leaves_nothing_running(served: Served) -> None:
    """The last test of this home: it stops it."""
    before, automations = served.deployments(), served.post("automations/filter", {})
    nightly = before["study-nightly"]
    path = f"/api/deployments/{nightly['id']}/schedules/{nightly['schedules'][0]['id']}"
    served.web.patch(path, json={"active": True}).raise_for_status()
    second = served.home.run("commands", "serve", **served.variables)
    assert second.returncode == 2 and "being served already" in second.stderr
    served.home.stop()
    until("the server has ended", lambda: not is_locked(served.folders.prefect / "server.lock"))
    assert _with_our_temporary(served.folders) == []
    assert not (served.folders.prefect / "tmp").exists()

    process = served.start()
    after = served.deployments()
    assert {name: found["id"] for name, found in after.items()} == {n: found["id"] for n, found in before.items()}
    assert after["study-nightly"]["schedules"][0]["active"] is True
    assert len(served.post("automations/filter", {})) == len(automations) == 3
    worker = next(p for p in _with_our_temporary(served.folders) if "worker" in p.cmdline())
    stores = served.folders.prefect / "tmp" / "runner_storage"
    until("the worker's temporary files lie in the home", stores.exists)
    worker.send_signal(signal.SIGKILL)
    assert process.wait(timeout=120) == 2, "a part that ended ends the others"
    until("the server has ended", lambda: not is_locked(served.folders.prefect / "server.lock"))
    assert [p for p in psutil.process_iter() if _is_of(p, served)] == []


def test_password_and_login_are_written_down_nowhere_else(served: Served) -> None:
    """After all of the above: not in logs, homes, caches and artifacts, and not in Prefect's history."""
    files = [path for path in served.home.path.rglob("*") if path.is_file()]
    assert {"server.log", "worker.log", "prefect.db", "login"} <= {path.name for path in files}
    assert [path for path in files if PASSWORD.encode() in path.read_bytes()] == []
    user, _, secret = served.printed.partition(":")
    encoded = base64.b64encode(served.printed.encode())  # as it travels
    assert len(secret) >= 32 and user == "lesionlens"
    holders = [path for path in files if secret.encode() in path.read_bytes() or encoded in path.read_bytes()]
    assert holders == [served.folders.prefect / "login"]
    assert holders[0].stat().st_mode & 0o777 == 0o600
