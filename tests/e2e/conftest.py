"""A small study, run once as a person runs it: one command in its own home."""

import contextlib
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import polars as pl
import pytest

from lesionlens.config import (
    BackgroundConfig,
    DataConfig,
    EvaluationConfig,
    GridConfig,
    HyperSet,
    PatchConfig,
    PhantomConfig,
    StoppingConfig,
    StudyConfig,
    TrainingConfig,
)

ROOT = Path(__file__).resolve().parents[2]


def small_study() -> StudyConfig:
    """Two backbones, two strategies, on tiny mammograms: about a minute on two cores."""
    return StudyConfig(
        name="small",
        data=DataConfig(
            source="phantom",
            phantom=PhantomConfig(height=480, width=300, train_per_class=6, test_per_class=4, callback_free=6),
        ),
        patches=PatchConfig(size=48, jitter=0.5),
        background=BackgroundConfig(size="matched", train=12, test=8, per_image=2),
        training=TrainingConfig(weights="none", stopping=StoppingConfig(patience=1, max_epochs=2)),
        grid=GridConfig(backbones=("vgg11_bn", "resnet18"), sets=(HyperSet(batch_size=8, head_rate=1e-3),)),
        evaluation=EvaluationConfig(resamples=100),
    )


@dataclass(frozen=True)
class Home:
    """A state folder and the commands run in it."""

    path: Path
    config: Path

    @property
    def environment(self) -> dict[str, str]:
        kept = {k: v for k, v in os.environ.items() if not k.startswith(("LESIONLENS_", "PREFECT_"))}
        return kept | {"LESIONLENS_HOME": str(self.path)}

    def command(self, *words: str) -> list[str]:
        return [sys.executable, "-m", *words]

    def study(self) -> subprocess.CompletedProcess[str]:
        """Run the study to its end."""
        return self.run("flows", "study", "--config", str(self.config))

    def run(self, *words: str) -> subprocess.CompletedProcess[str]:
        """Run a command to its end."""
        return subprocess.run(
            self.command(*words), cwd=ROOT, env=self.environment, capture_output=True, text=True, timeout=500
        )

    def start(self, capture: bool = False) -> subprocess.Popen[bytes]:
        """Start the study in a process group of its own, so that the whole group can be killed."""
        sink = subprocess.PIPE if capture else subprocess.DEVNULL
        return subprocess.Popen(
            self.command("flows", "study", "--config", str(self.config)),
            cwd=ROOT, env=self.environment, start_new_session=True, stdout=sink, stderr=sink,
        )  # fmt: skip

    def sql(self, query: str) -> pl.DataFrame:
        """Ask the record through the command that people use; all values as text."""
        done = subprocess.run(
            self.command("db.cli", "psql", "--csv"),
            cwd=ROOT, env=self.environment, input=query, capture_output=True, text=True, timeout=60,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
        return pl.read_csv(done.stdout.encode(), infer_schema=False) if done.stdout.strip() else pl.DataFrame()

    def stop(self) -> None:
        subprocess.run(self.command("flows", "stop"), cwd=ROOT, env=self.environment, timeout=60, check=True)


@pytest.fixture(scope="session")
def kill_group() -> Callable[[subprocess.Popen[bytes]], None]:
    """SIGKILL to everything the command started in its group."""

    def kill(process: subprocess.Popen[bytes]) -> None:
        with contextlib.suppress(ProcessLookupError):  # already ended by itself
            os.killpg(process.pid, signal.SIGKILL)
        process.wait(timeout=30)

    return kill


@pytest.fixture(scope="session")
def new_home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[[], Home]]:
    """A maker of fresh homes; whatever runs in them is stopped at the end."""
    homes: list[Home] = []

    def make() -> Home:
        path = tmp_path_factory.mktemp("home")
        config = path / "study.json"
        config.write_text(small_study().model_dump_json())
        homes.append(Home(path / "state", config))
        return homes[-1]

    yield make
    for home in homes:
        home.stop()


@pytest.fixture(scope="session")
def finished(new_home: Callable[[], Home]) -> Home:
    """The home of an undisturbed study."""
    home = new_home()
    done = home.study()
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-6000:]
    return home
