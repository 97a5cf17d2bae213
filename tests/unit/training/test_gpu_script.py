"""The script for a GPU, rehearsed: everything it measures once, tiny, on the CPU; cut off, and gone on with."""

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

from benchmarks.gpu import __main__ as script
from benchmarks.gpu.setting import Setting, tiny

ROOT = Path(__file__).resolve().parents[3]
ASIDE = ("tests", "Lightning, resnet18")  # a pytest inside a pytest; what `test_benchmark` covers

BLOCKED = """
import sys
from importlib.metadata import packages_distributions

allowed, found = set(sys.argv[1].split()), packages_distributions()

class Blocked:
    def find_spec(self, name, path=None, target=None):
        top = name.partition(".")[0]
        owners = {owner.lower().replace("_", "-") for owner in found.get(top, ())}
        if owners & {"prefect", "sqlalchemy", "psycopg", "alembic", "jinja2", "lightning"} - allowed:
            raise ImportError(f"{top} is not listed")

sys.meta_path.insert(0, Blocked())
import benchmarks.gpu.__main__, lesionlens.evaluate, tests.unit.conftest
print(" ".join(sorted({owner.lower().replace("_", "-") for name in sys.modules for owner in found.get(name, ())})))
"""


@pytest.mark.slow
def test_everything_is_measured_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    every = script.measurements
    monkeypatch.setattr(script, "measurements", lambda s: {k: v for k, v in every(s).items() if k not in ASIDE})
    results = script.measure(tiny(tmp_path), tmp_path / "out", 600)
    assert [name for name, result in results.items() if "failed" in result] == []
    assert results["the study's grid"]["runs"] == 4 and results["bfloat16, resnet18"]["% same predictions"] > 50
    assert json.loads((tmp_path / "out/gpu.json").read_text())["results"] == results
    assert (tmp_path / "out/gpu.md").read_text().count(", ms |") == 6 + 2
    assert set(every(Setting("cuda", tmp_path))) >= {"tests", "runs at once, 8", "Lightning, vgg19", "films"}


def test_it_goes_on_where_it_was_cut_off(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    done: list[str] = []

    def work(name: str) -> dict[str, float | str]:
        done.append(name)
        if name == "b" and done.count("b") == 1:
            raise RuntimeError("out of memory")
        return {"ms": 1.5}

    monkeypatch.setattr(script, "measurements", lambda _: {name: lambda name=name: work(name) for name in "abc"})
    first = script.measure(tiny(tmp_path), tmp_path, 600)
    assert done == ["a", "b", "c"] and first["b"]["failed"] == "RuntimeError: out of memory"
    again = script.measure(tiny(tmp_path), tmp_path, 600)
    assert done == ["a", "b", "c", "b"] and again["b"]["ms"] == 1.5
    script.measure(Setting("cpu", tmp_path, size=32), tmp_path, -1)
    assert len(done) == 4
    script.measure(Setting("cpu", tmp_path, size=32), tmp_path, 600)
    assert done[4:] == ["a", "b", "c"]


def test_the_wheels_that_a_bare_machine_lacks_are_listed() -> None:
    text = (ROOT / "benchmarks/gpu.sh").read_text()
    listed = re.findall(r"^#   ([\w -]+)$", text, re.MULTILINE)
    assert listed
    names = set(" ".join(listed).split())
    asked = [sys.executable, "-c", BLOCKED, " ".join(names)]
    path = {"PYTHONPATH": f"{ROOT / 'src'}:{ROOT}", "PATH": "/usr/bin:/bin", "HOME": "/nonexistent"}
    found = subprocess.run(asked, capture_output=True, text=True, env=path, check=False, cwd=ROOT)
    assert found.returncode == 0, found.stderr[-1000:]
    direct = {
        line.split("==")[0].lower().replace("_", "-") for line in (ROOT / "pyproject.toml").read_text().split('"')
    }
    needed = {owner for owner in found.stdout.split() if owner in direct}
    assert needed - names <= {"torch", "torchvision", "pytest", "hypothesis", "lesionlens"}
