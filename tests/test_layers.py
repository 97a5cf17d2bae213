"""What import-linter cannot see: what an import really loads."""

import ast
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
PHANTOM = ("phantom/plan", "phantom/lesions")
SCIENCE = (
    "lesionlens.datasets.cbis",
    "lesionlens.samples.sample_set",
    "lesionlens.phantom.dataset",
    "lesionlens.training.fit",
    "lesionlens.training.checkpoints",
    "lesionlens.evaluate",
    "lesionlens.reporting.page",
    "lesionlens.config.presets",
)
RECORD = ("db.clients", "db.datasets", "db.studies", "db.evaluations", "db.reports", "db.locks")


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
    assert not loaded(("lesionlens.config.presets", "lesionlens.records")) & {"torch", "matplotlib"}


@pytest.mark.parametrize("folder", ["commands", "flows", "tasks", "db"])
def test_a_package_does_nothing_when_it_is_imported(folder: str) -> None:
    for path in (ROOT / folder).rglob("__init__.py"):
        _docstring, *rest = ast.parse(path.read_text()).body
        assert not [node for node in rest if isinstance(node, ast.Expr | ast.If | ast.For | ast.With)], path


def test_few_modules_know_the_classes_of_cbis_ddsm() -> None:
    """Anyone's classes go through the same code; phantom files and the rule `paper` are CBIS-DDSM's."""
    classes = re.compile(r"""["'](BC|BM|MC|MM|(\w+ )?(calcification|mass)(es|s)?)["']""")
    found = {
        str(path.relative_to(ROOT))
        for folder in ("src", "tasks", "flows", "db", "templates")
        for path in (ROOT / folder).rglob("*.*")
        if path.suffix in {".py", ".html", ".css", ".js", ".tex"} and classes.search(path.read_text())
    }
    rooms = ("datasets/cbis", "datasets/case_files", "samples/splits", "phantom/files", *PHANTOM)
    assert found == {f"src/lesionlens/{name}.py" for name in rooms}
