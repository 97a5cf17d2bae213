"""Whole programs in homes of their own: one small finished study for all tests that only read one."""

import contextlib
import fcntl
import os
import random
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import polars as pl
import psycopg
import pytest

from db.postgres import server as record
from flows.environment import environment
from lesionlens import settings
from lesionlens.config.data import BackgroundConfig, DataConfig, PatchConfig, PhantomConfig
from lesionlens.config.evaluation import EvaluationConfig
from lesionlens.config.study import StudyConfig
from lesionlens.config.training import GridConfig, HyperSet, StoppingConfig, TrainingConfig
from tests.system.zygote import PATIENCE, THIN, Command, Zygote

ROOT = Path(__file__).resolve().parents[2]
ZYGOTE = Zygote()


def small_study() -> StudyConfig:
    """Two backbones, two strategies, on tiny mammograms: about a minute on two cores."""
    return StudyConfig(
        name="small",
        data=DataConfig(
            source="phantom",
            phantom=PhantomConfig(height=480, train_per_class=6, test_per_class=4, callback_free=6),
        ),
        patches=PatchConfig(size=48, jitter=0.5),
        background=BackgroundConfig(size="matched", train=12, test=8, per_image=2),
        training=TrainingConfig(weights="none", stopping=StoppingConfig(patience=1, max_epochs=2)),
        grid=GridConfig(backbones=("vgg11_bn", "resnet18"), sets=(HyperSet(batch_size=8, head_rate=1e-3),)),
        evaluation=EvaluationConfig(resamples=100, randomisation_samples=2),
    )


def study(name: str, seeds: int = 1, epochs: int = 2, first: int = 0) -> StudyConfig:
    """A study of one small backbone, as long as asked: every run has its full number of epochs."""
    return small_study().model_copy(
        update={
            "name": name,
            "training": TrainingConfig(weights="none", stopping=StoppingConfig(patience=epochs, max_epochs=epochs)),
            "grid": GridConfig(
                backbones=("resnet18",), strategies=("simultaneous",), sets=(HyperSet(batch_size=8),),
                seeds=tuple(range(first, first + seeds)),
            ),
        }
    )  # fmt: skip


def free_port() -> int:
    """A port below those that the system gives to callers, so that nobody takes it meanwhile."""
    for port in random.sample(range(20_000, 32_000), 100):
        with socket.socket() as trial, contextlib.suppress(OSError):
            trial.bind(("127.0.0.1", port))
            return port
    raise AssertionError("no free port")


def until(what: str, condition: Callable[[], Any], patience: float = PATIENCE) -> Any:
    """Ask again and again; what the condition returned when it first held."""
    end = time.monotonic() + patience
    while time.monotonic() < end:
        if found := condition():
            return found
        time.sleep(0.1)
    raise AssertionError(f"not within {patience:g} s: {what}")


class Persistent(httpx.HTTPTransport):
    """Asks again while the server's database is busy (503), as Prefect's own clients do."""

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        def answered() -> httpx.Response | None:
            response = super(Persistent, self).handle_request(request)
            if response.status_code != httpx.codes.SERVICE_UNAVAILABLE:
                return response
            response.close()
            return None

        return until("the server has time", answered)


def api_of(port: int, path: str = "", auth: tuple[str, str] | None = None) -> httpx.Client:
    """A client of the server of a home."""
    address = f"http://127.0.0.1:{port}{path}"
    return httpx.Client(base_url=address, trust_env=False, timeout=60, auth=auth, transport=Persistent())


@dataclass(frozen=True)
class Home:
    """A state folder and the commands run in it, of thin networks where what they learn is not asked."""

    path: Path
    port: int
    thin: bool = False

    @property
    def environment(self) -> dict[str, str]:
        kept = {k: v for k, v in os.environ.items() if not k.startswith(("LESIONLENS_", "PREFECT_"))}
        own = {"HOME": str(self.path), "PORT": str(self.port), "DEVICE": "cpu"}
        kept |= {THIN: "1"} if self.thin else {}
        return kept | {f"LESIONLENS_{name}": value for name, value in own.items()} | {"OMP_NUM_THREADS": "1"}

    def write(self, config: StudyConfig) -> Path:
        """The configuration as a file."""
        path = self.path.parent / f"{config.name}.json"
        path.write_text(config.model_dump_json())
        return path

    def study(self, config: StudyConfig, **variables: str) -> subprocess.CompletedProcess[str]:
        """Run a study to its end."""
        return self.run("commands", "study", "--config", str(self.write(config)), **variables)

    def run(self, *words: str, **variables: str) -> subprocess.CompletedProcess[str]:
        """Run a command to its end."""
        command = self.begin(*words, **variables)
        output, errors = command.communicate()
        return subprocess.CompletedProcess(words, command.wait(), output, errors)

    def begin(self, *words: str, **variables: str) -> Command:
        """Start a command, `python -m WORDS`, in a process group of its own."""
        return ZYGOTE.start(list(words), self.environment | variables)

    def start(self, config: StudyConfig, **variables: str) -> Command:
        """Start a study."""
        return self.begin("commands", "study", "--config", str(self.write(config)), **variables)

    def stop_at(self, event: str, config: StudyConfig) -> int:
        """Run a study whose process is killed at an event (tests/system/kill.py); returns its exit status."""
        return self.run("tests.system.kill", event, "study", "--config", str(self.write(config))).returncode

    @property
    def url(self) -> str:
        """Where the embedded record is reached; started where it is not running."""
        return record.start(self.path / "record").replace("postgresql+psycopg", "postgresql")

    def sql(self, query: str) -> pl.DataFrame:
        """Ask the embedded record; all values as text."""
        command: Any = f"COPY ({query.strip().rstrip(';')}) TO STDOUT (FORMAT csv, HEADER)"
        with psycopg.connect(self.url) as connection, connection.cursor() as cursor, cursor.copy(command) as copy:
            text = b"".join(bytes(block) for block in copy)
        return pl.read_csv(text, infer_schema=False)

    def count(self, query: str) -> int:
        """A number of the record; 0 while its tables are not there yet."""
        try:
            return int(self.sql(query).item())
        except psycopg.Error:
            return 0

    @contextmanager
    def kept_server(self) -> Iterator[None]:
        """Prefect's server outlives the commands inside, as it does while another command uses it."""
        path = self.path / "prefect" / "users.lock"
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        with path.open("a") as users:
            fcntl.flock(users, fcntl.LOCK_SH)
            yield

    def stop(self) -> None:
        self.run("commands", "stop")


def kill_group(process: Command) -> None:
    """SIGKILL to everything the command started in its group."""
    with contextlib.suppress(ProcessLookupError):  # already ended by itself
        os.killpg(process.pid, signal.SIGKILL)
    process.communicate()


@pytest.fixture(scope="session")
def history(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Prefect's database without an entry: what takes a server seconds to make at its first start."""
    place = settings.Home(tmp_path_factory.mktemp("history")).ensure()
    command = [sys.executable, "-m", "prefect", "server", "database", "upgrade", "--yes"]
    subprocess.run(command, cwd=place.prefect, env=environment(place, free_port()), check=True, capture_output=True)
    return place.prefect / "prefect.db"


@pytest.fixture(scope="session")
def new_home(tmp_path_factory: pytest.TempPathFactory, history: Path) -> Iterator[Callable[..., Home]]:
    """A maker of homes with a history of Prefect, but nothing in it; whatever runs in them is stopped at the end."""
    homes: list[Home] = []

    def make(thin: bool = False) -> Home:
        homes.append(Home(tmp_path_factory.mktemp("home") / "state", free_port(), thin))
        folder = homes[-1].path / "prefect"
        folder.mkdir(mode=0o700, parents=True)
        shutil.copy(history, folder)
        return homes[-1]

    yield make
    for home in homes:
        home.stop()
    ZYGOTE.stop()


@pytest.fixture(scope="session")
def finished(new_home: Callable[..., Home]) -> Home:
    """The home of an undisturbed study, which began with nothing."""
    home = new_home()
    shutil.rmtree(home.path)
    done = home.study(small_study())
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-6000:]
    return home
