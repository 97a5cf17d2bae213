"""The local Prefect server: found again, shared, stopped; deployments run through its API."""

import json
import os
import signal
import socket
import struct
import subprocess
import sys
import threading
import time
import urllib.request
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

import psutil
import pytest

from flows import deployments, local_server, processes, server
from lesionlens.config import BackgroundConfig, DataConfig, GridConfig, PatchConfig, PhantomConfig, StudyConfig
from lesionlens.presets import demo
from lesionlens.settings import Home

ROOT = Path(__file__).resolve().parents[2]
HISTORY = """
import sys, time
from pathlib import Path
from lesionlens.settings import Home
from flows import local_server, server
home = Home(Path(sys.argv[1]))
with server.running_server(home):
    print(local_server.find_server(home).pid, flush=True)
    time.sleep(float(sys.argv[2]))
    from prefect import flow, task
    @task(name="count")
    def count(number): return number
    @flow(name="history")
    def history(): return [count(n) for n in range(40)]
    history()
"""


@pytest.fixture
def home(tmp_path: Path) -> Home:
    return Home(tmp_path).ensure()


@pytest.fixture
def pretender() -> Iterator[Callable[[Path], subprocess.Popen[bytes]]]:
    """A maker of sleeping processes whose command lines look like a server's."""
    made: list[subprocess.Popen[bytes]] = []

    def make(prefect_home: Path) -> subprocess.Popen[bytes]:
        command = [sys.executable, "-c", "import time; time.sleep(120)", *local_server.APPLICATION, "--port", "1"]
        made.append(subprocess.Popen(command, env=os.environ | {"PREFECT_HOME": str(prefect_home)}))
        time.sleep(0.2)
        return made[-1]

    yield make
    for process in made:
        process.kill()
        process.wait()


def free_port() -> int:
    with socket.socket() as trial:
        trial.bind(("127.0.0.1", 0))
        return int(trial.getsockname()[1])


def clean_environment(**extra: str) -> dict[str, str]:
    return {k: v for k, v in os.environ.items() if not k.startswith(("LESIONLENS_", "PREFECT_"))} | extra


def test_nothing_is_sent_out_and_nothing_is_ephemeral(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NO_PROXY", "example.org")
    settings = local_server.environment(home, 4321)
    assert settings["DO_NOT_TRACK"] == "1"
    assert settings["PREFECT_SERVER_ANALYTICS_ENABLED"] == "false"
    assert settings["PREFECT_SERVER_ALLOW_EPHEMERAL_MODE"] == "false"
    assert settings["PREFECT_API_URL"] == "http://127.0.0.1:4321/api"
    assert set(settings["NO_PROXY"].split(",")) == {"example.org", "127.0.0.1", "localhost"}


@pytest.mark.parametrize("text", ["", "http", "0", "65536", "-1"])
def test_a_wrong_port_is_named(text: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LESIONLENS_PORT", text)
    with pytest.raises(ValueError, match="LESIONLENS_PORT"):
        local_server.chosen_port()


def test_a_taken_port_is_an_error_for_serve(home: Home) -> None:
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        with pytest.raises(processes.ServerError, match="taken by another program"):
            local_server.ensure(home, other.getsockname()[1])


def test_a_port_that_a_dead_servers_callers_hold_for_a_moment_is_waited_for() -> None:
    caller = socket.socket()
    caller.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))  # closed without the last minute
    caller.bind(("127.0.0.1", 0))
    port = caller.getsockname()[1]
    caller.connect(("127.0.0.1", port))  # nobody listens: the line's two ends are one
    assert caller.getpeername() == caller.getsockname()
    with pytest.raises(processes.ServerError, match="taken by another program"):
        local_server._required_port(port, 0.3)
    threading.Timer(0.5, caller.close).start()
    assert local_server._required_port(port, 20) == port


def test_a_server_of_another_home_is_left_alone(home: Home, tmp_path: Path, pretender: Any) -> None:
    foreign = pretender(tmp_path / "other")
    assert local_server.find_server(home) is None
    server.stop(home)
    assert foreign.poll() is None


def test_a_stale_lock_with_a_foreign_number_signals_nobody(home: Home, tmp_path: Path, pretender: Any) -> None:
    foreign = pretender(tmp_path / "other")
    home.prefect.mkdir()
    (home.prefect / "serve.lock").write_text(str(foreign.pid))
    server.stop(home)
    assert foreign.poll() is None


def test_the_last_user_stops_the_server(home: Home, pretender: Any) -> None:
    running = pretender(home.prefect)
    with local_server.in_use(home):
        with local_server.in_use(home):
            pass
        assert psutil.pid_exists(running.pid)
    assert not psutil.pid_exists(running.pid)


def test_a_server_that_dies_at_once_shows_its_log(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(local_server, "APPLICATION", ("--factory", "no_such_module:create_app"))
    with pytest.raises(processes.ServerError, match="no_such_module"):
        local_server.ensure(home, free_port())


def test_a_busy_server_is_asked_again() -> None:
    """Prefect's server answers 503 while its database is locked, as it is on a slow machine."""
    codes = [503, 429, 200, 404]

    class Busy(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            self.send_response(codes.pop(0))
            self.end_headers()
            self.wfile.write(b"[]")

    with ThreadingHTTPServer(("127.0.0.1", 0), Busy) as busy:
        Thread(target=busy.serve_forever, daemon=True).start()
        assert local_server.call(busy.server_port, "logs/filter", {}) == []
        with pytest.raises(urllib.error.HTTPError, match="404"):
            local_server.call(busy.server_port, "logs/filter", {})
        busy.shutdown()


def test_parameters_in_prefect_yaml_are_the_presets() -> None:
    text = deployments.FILE.read_text()
    assert text.count("# end of preset") == 5
    assert deployments.current(text) == text, "run: python -m flows.deployments"


def test_prefect_yaml_names_no_folder_of_this_machine() -> None:
    text = deployments.FILE.read_text()
    assert str(ROOT) not in text and str(Path.home()) not in text


def history(home: Path, wait: float) -> subprocess.Popen[str]:
    environment = clean_environment(LESIONLENS_PORT=str(free_port()), PREFECT_LOGGING_LEVEL="WARNING")
    return subprocess.Popen(
        [sys.executable, "-c", HISTORY, str(home), str(wait)],
        cwd=ROOT, env=environment, stdout=subprocess.PIPE, text=True, start_new_session=True,
    )  # fmt: skip


@pytest.mark.slow
def test_after_a_kill_the_server_is_used_again_and_history_is_whole(home: Home) -> None:
    import sqlite3

    try:
        killed = history(home.root, 60)
        assert killed.stdout is not None
        first = int(killed.stdout.readline())
        os.killpg(killed.pid, signal.SIGKILL)
        killed.communicate()
        assert psutil.pid_exists(first)

        again = history(home.root, 0)
        output, _ = again.communicate(timeout=120)
        assert (again.returncode, int(output)) == (0, first)
        assert local_server.find_server(home) is None, "its last user is gone"
        with sqlite3.connect(home.prefect / "prefect.db") as connection:
            states = connection.execute("SELECT state_type, count(*) FROM task_run GROUP BY 1").fetchall()
        assert states == [("COMPLETED", 40)]
    finally:
        server.stop(home)


class Served:
    """A home under `python -m flows serve`."""

    def __init__(self, root: Path) -> None:
        self.home = Home(root).ensure()
        self.port = free_port()
        self.environment = clean_environment(LESIONLENS_HOME=str(root), LESIONLENS_PORT=str(self.port))

    def start(self) -> subprocess.Popen[str]:
        process = subprocess.Popen(
            [sys.executable, "-m", "flows", "serve"],
            cwd=ROOT, env=self.environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
        )  # fmt: skip
        assert process.stdout is not None
        said = ""
        for line in process.stdout:
            said += line
            if line.startswith("Serving"):
                return process
        raise AssertionError(said)

    def stop(self) -> None:
        subprocess.run([sys.executable, "-m", "flows", "stop"], cwd=ROOT, env=self.environment, check=True, timeout=90)

    def deployments(self) -> dict[str, dict[str, Any]]:
        return {d["name"]: d for d in local_server.call(self.port, "deployments/filter", {})}

    def run(self, name: str, config: StudyConfig) -> dict[str, Any]:
        """Press Run, and wait for the end."""
        path = f"deployments/{self.deployments()[name]['id']}/create_flow_run"
        body = {"parameters": {"config": config.model_dump(mode="json")}}
        run = local_server.call(self.port, path, body)
        until = time.monotonic() + 150
        while time.monotonic() < until:
            run = local_server.call(self.port, f"flow_runs/{run['id']}")
            if run["state_type"] in {"COMPLETED", "FAILED", "CRASHED", "CANCELLED"}:
                break
            time.sleep(1)
        return run


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """One home, served for all tests that only look."""
    place = Served(tmp_path_factory.mktemp("served"))
    process = place.start()
    yield place
    place.stop()
    process.wait(timeout=60)


@pytest.mark.slow
def test_every_deployment_is_there_and_the_form_shows_the_configuration(served: Served) -> None:
    known = served.deployments()
    studies = {"study-demo", "study-paper", "study-sound", "study-nightly"}
    assert set(known) == studies | {"prepare", "train", "evaluate", "report", "compare", "share"}
    schema = known["study-demo"]["parameter_openapi_schema"]
    stopping = schema["definitions"]["StoppingConfig"]["properties"]["patience"]
    assert (stopping["default"], stopping["minimum"]) == (7, 1)
    assert "Epochs without" in stopping["description"]
    assert StudyConfig.model_validate(known["study-demo"]["parameters"]["config"]) == demo()
    sound = StudyConfig.model_validate(known["study-sound"]["parameters"]["config"])
    assert sound.data.root == served.home.root / "cbis-ddsm"
    assert [s["active"] for s in known["study-nightly"]["schedules"]] == [False]


@pytest.mark.slow
def test_a_wrong_value_is_refused_with_field_and_reason(served: Served) -> None:
    path = f"deployments/{served.deployments()['study-demo']['id']}/create_flow_run"
    wrong = demo().model_dump(mode="json") | {"seed": -3}
    with pytest.raises(urllib.error.HTTPError) as refused:
        local_server.call(served.port, path, {"parameters": {"config": wrong}})
    detail = json.load(refused.value)["detail"]
    assert "'config.seed'" in detail and "-3 is less than the minimum of 0" in detail


@pytest.mark.slow
def test_the_server_has_analytics_off_and_talks_to_this_machine_only(served: Served) -> None:
    settings = local_server.call(served.port, "admin/settings")
    assert settings["server"]["analytics_enabled"] is False
    for words in (local_server.APPLICATION, server.WORKER):
        process = processes.find(words, served.home.prefect)
        assert process is not None
        peers = {c.raddr.ip for c in process.net_connections(kind="inet") if c.raddr}
        assert peers <= {"127.0.0.1"}


@pytest.mark.slow
def test_the_worker_keeps_out_of_the_folder_that_all_users_share(served: Served) -> None:
    """Prefect's worker makes `runner_storage` in the temporary folder: the second user of a machine could not start."""
    stores = served.home.prefect / "tmp" / server.POOL / "runner_storage"
    until = time.monotonic() + 60
    while not stores.exists() and time.monotonic() < until:
        time.sleep(0.2)
    assert list(stores.iterdir())


@pytest.mark.slow
def test_a_worker_runs_what_the_api_asks_for(served: Served) -> None:
    small = StudyConfig(
        name="tiny",
        data=DataConfig(
            source="phantom",
            phantom=PhantomConfig(height=300, width=200, train_per_class=3, test_per_class=1, callback_free=4),
        ),
        patches=PatchConfig(size=32),
        background=BackgroundConfig(size="matched", train=4, test=2, per_image=2),
        grid=GridConfig(backbones=("resnet18",)),
    )
    try:
        run = served.run("prepare", small)
        assert run["state_type"] == "COMPLETED", run["state"]
        assert run["name"] == "prepare tiny"
        logs = local_server.call(served.port, "logs/filter", {"limit": 100})
        assert any("draw phantom mammograms: " in log["message"] for log in logs)
        missing = demo().model_copy(update={"data": DataConfig(root=served.home.root / "nowhere")})
        run = served.run("prepare", missing)
        assert run["state_type"] == "FAILED"
        assert "nowhere" in run["state"]["message"]
    finally:
        from db.postgres import server

        server.stop(served.home.record)


@pytest.mark.slow
def test_a_restart_repeats_nothing_keeps_what_people_set_and_leaves_nothing_running(tmp_path: Path) -> None:
    place = Served(tmp_path)
    try:
        process = place.start()
        before = place.deployments()
        nightly = before["study-nightly"]
        switch = urllib.request.Request(
            f"http://127.0.0.1:{place.port}/api/deployments/{nightly['id']}/schedules/{nightly['schedules'][0]['id']}",
            data=b'{"active": true}',
            method="PATCH",
            headers={"Content-Type": "application/json"},
        )
        local_server.answer(switch)
        second = subprocess.run(
            [sys.executable, "-m", "flows", "serve"],
            cwd=ROOT, env=place.environment, capture_output=True, text=True, timeout=60,
        )  # fmt: skip
        assert second.returncode != 0
        assert "being served already" in second.stderr
        process.send_signal(signal.SIGTERM)
        assert process.wait(timeout=60) == 0
        assert remaining(place.home) == []

        process = place.start()
        after = place.deployments()
        assert {n: d["id"] for n, d in after.items()} == {n: d["id"] for n, d in before.items()}
        assert after["study-nightly"]["schedules"][0]["active"] is True
        place.stop()
        assert process.wait(timeout=60) == 0
        assert remaining(place.home) == []
        assert not (place.home.prefect / "tmp").exists()
    finally:
        place.stop()


def remaining(home: Home) -> list[str]:
    """Command lines of processes that have this home in their environment."""
    found = []
    for process in psutil.process_iter():
        try:
            if process.environ().get("PREFECT_HOME") == str(home.prefect):
                found.append(" ".join(process.cmdline()))
        except psutil.Error:
            continue
    return found
