"""How the command begins: light, with help and examples for every command."""

import re
import subprocess
import sys

import pytest

from commands.__main__ import COMMANDS, application, main

NAMES = [name for name in application() if not name.startswith("-")]


def test_the_parser_loads_nothing_that_takes_seconds() -> None:
    code = "import sys, commands.__main__ as c; c.application(); print(*sys.modules)"
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()
    assert not {name.split(".")[0] for name in loaded} & {
        "torch", "prefect", "sqlalchemy", "alembic", "psycopg", "polars", "matplotlib", "httpx",
    }  # fmt: skip


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
