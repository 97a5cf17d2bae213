"""How the command begins: light, with help and examples for every command."""

import gc
import re
import subprocess
import sys
from contextlib import nullcontext

import pytest

from commands import services
from commands.__main__ import COMMANDS, application, main

NAMES = [name for name in application() if not name.startswith("-")]


def test_the_parser_loads_nothing_that_takes_seconds() -> None:
    code = "import sys, commands.__main__ as c; c.application(); print(*sys.modules)"
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()
    assert not {name.split(".")[0] for name in loaded} & {
        "torch", "prefect", "sqlalchemy", "alembic", "psycopg", "polars", "matplotlib", "httpx",
    }  # fmt: skip


def test_the_end_of_a_command_looks_through_nothing_that_was_made() -> None:
    code = """
import atexit, gc, sys
atexit.register(lambda: print(gc.get_freeze_count() > len(sys.modules)))
import commands.__main__ as c
c.main(["config"])
"""
    said = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert said.splitlines()[-1] == "True"


@pytest.mark.parametrize("name", ["json.tool", "lesionlens.no_such_module"])
def test_garbage_is_looked_for_again_after_imports(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    seen = list[bool]()
    load = services.import_module
    monkeypatch.setattr(services, "import_module", lambda name: (seen.append(gc.isenabled()), load(name))[1])
    with nullcontext() if name == "json.tool" else pytest.raises(ModuleNotFoundError):
        assert services.imported("json", name).__name__ == name
    assert seen == [False, False] and gc.isenabled()


@pytest.mark.parametrize("name", NAMES)
def test_help_says_what_every_option_of_a_command_does(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([name, "--help"]) == 0
    said = capsys.readouterr().out
    assert f"lesionlens {name}" in said
    for group in COMMANDS.values():
        for function in group:
            if function.__name__.rstrip("_") == name:
                assert function.__doc__ and len(function.__doc__.splitlines()[0]) <= 72
    silent = [line for line in said.splitlines() if re.fullmatch(r"│ +(--)?[\w-]+( [A-Z]+)? +│", line)]
    assert not silent, said


def test_a_mistyped_command_is_answered_with_the_nearest(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["stduy"]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert 'Did you mean "study"?' in line
