"""The shape of the code: folders that a newcomer can take in, no module without its place."""

import subprocess
import tomllib
from collections import Counter
from pathlib import Path

import pytest

from lesionlens.config.study import StudyConfig

ROOT = Path(__file__).resolve().parents[1]
PRODUCT = ("src/lesionlens", "db", "tasks", "flows", "commands")


def tracked(*folders: str) -> list[Path]:
    command = ["git", "ls-files", "--cached", "--others", "--exclude-standard", *folders]
    listed = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    return [Path(line) for line in listed.stdout.splitlines() if (ROOT / line).exists()]


def test_a_folder_holds_at_most_nine_modules() -> None:
    modules = [p for p in tracked(*PRODUCT) if p.suffix == ".py" and p.name != "__init__.py"]
    crowded = {str(folder): n for folder, n in Counter(p.parent for p in modules).items() if n > 9}
    assert not crowded
    assert len(modules) <= 200


def test_every_package_is_installed() -> None:
    listed = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["setuptools"]["packages"]
    folders = {p.parent for p in tracked(*PRODUCT) if p.suffix == ".py"}
    assert sorted(str(folder).removeprefix("src/").replace("/", ".") for folder in folders) == sorted(listed)


@pytest.mark.parametrize("folder", ["templates/html", "templates/css", "templates/js"])
def test_a_folder_of_templates_holds_at_most_nine_files(folder: str) -> None:
    assert 0 < len(tracked(folder)) <= 9


def test_options_stay_few() -> None:
    """Every option of a study, those of its parts included, counted as a form shows them."""
    schema = StudyConfig.model_json_schema()
    parts = {"StudyConfig": schema, **schema["$defs"]}

    def is_part(option: dict[str, object]) -> bool:
        return "$ref" in option or "allOf" in option

    options = [
        f"{part}.{name}"
        for part, shown in parts.items()
        for name, option in shown["properties"].items()
        if not is_part(option)
    ]
    assert len(options) <= 94, options
