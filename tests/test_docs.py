"""Documents that stay true: commands, options, files, and nothing of any one machine."""

import re
import subprocess
from pathlib import Path

import pytest

from commands.__main__ import COMMANDS, application
from docs import entities, files
from lesionlens.settings import Settings

ROOT = Path(__file__).resolve().parents[1]
README = (ROOT / "README.md").read_text()


def tracked(*patterns: str) -> list[str]:
    listed = subprocess.run(["git", "ls-files", *patterns], cwd=ROOT, capture_output=True, text=True, check=True)
    return listed.stdout.split()


def test_every_make_target_is_explained() -> None:
    targets = re.findall(r"^([a-z]+):.* ## ", (ROOT / "Makefile").read_text(), flags=re.MULTILINE)
    assert len(targets) >= 8
    missing = [t for t in targets if f"make {t}" not in README]
    assert not missing, f"README.md does not mention: {missing}"


def test_every_command_is_explained() -> None:
    names = [name for name in application() if not name.startswith("-")]
    assert len(names) == sum(map(len, COMMANDS.values()))
    missing = [name for name in names if f"lesionlens {name}" not in README]
    assert not missing, f"README.md does not mention: {missing}"


def test_the_file_list_is_current() -> None:
    text = files.PAGE.read_text()
    assert files.page(text) == text, "run: make docs"


def test_the_entity_diagram_is_current() -> None:
    text = (ROOT / "docs/record.md").read_text()
    assert entities.page(text) == text, "run: make docs"


def test_environment_variables_are_explained() -> None:
    read = {f"LESIONLENS_{name.upper()}" for name in Settings.model_fields}
    missing = [name for name in sorted(read) if name not in README]
    assert not missing, f"README.md does not mention: {missing}"


@pytest.mark.parametrize("page", tracked("*.md"))
def test_links_between_documents_lead_somewhere(page: str) -> None:
    text = (ROOT / page).read_text()
    for target in re.findall(r"\]\(([^)#:]+)(?:#[^)]*)?\)", text):
        assert ((ROOT / page).parent / target).exists(), f"{page} links to {target}, which does not exist"


def test_the_lock_names_every_package_once_no_address_and_no_path() -> None:
    lines = (ROOT / "requirements.lock").read_text().splitlines()
    names = [line.partition("==")[0].replace("_", "-").lower() for line in lines if "==" in line]
    assert names and sorted(set(names)) == sorted(names)
    assert lines
    for line in lines:
        assert re.fullmatch(r"[A-Za-z0-9._-]+==[A-Za-z0-9.+!_-]+", line), line
    assert {"torch==2.14.1", "torchvision==0.29.1"} <= set(lines)
