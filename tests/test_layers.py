"""What import-linter cannot see: what an import really loads."""

import subprocess
import sys

import pytest

SCIENCE = (
    "lesionlens.data.cbis",
    "lesionlens.data.patch_set",
    "lesionlens.data.phantom",
    "lesionlens.training.fit",
    "lesionlens.training.predict",
    "lesionlens.evaluation.evaluate",
    "lesionlens.reporting.render",
    "lesionlens.presets",
)
RECORD = ("db.engine", "db.migrate", "db.read", "db.write", "db.lease", "db.embedded")


def loaded(modules: tuple[str, ...]) -> set[str]:
    code = f"import sys, importlib; [importlib.import_module(m) for m in {modules!r}]; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return {name.split(".")[0] for name in done.stdout.split()}


@pytest.mark.slow
def test_the_science_loads_no_orchestration_and_no_database() -> None:
    assert not loaded(SCIENCE) & {"prefect", "sqlalchemy", "psycopg", "alembic", "db", "tasks", "flows"}


def test_the_record_loads_no_training_and_no_orchestration() -> None:
    assert not loaded(RECORD) & {"torch", "prefect", "tasks", "flows"}


def test_the_configuration_loads_no_tensors() -> None:
    assert not loaded(("lesionlens.config", "lesionlens.presets", "lesionlens.records")) & {"torch", "matplotlib"}
