"""A run outlives whoever reads its output, and says in a line what a line can say."""

import json
import logging
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from flows import output
from lesionlens.datasets.csv_table import read_table

ROOT = Path(__file__).resolve().parents[2]
WORK = """
import sys, flows
from pathlib import Path
from rich.console import Console
print("begun", flush=True)
sys.stdin.readline()
console = Console(file=sys.stderr if sys.argv[2] == "stderr" else sys.stdout)
for line in range(100):
    console.print("line", line)
print("to standard output as well", flush=True)
Path(sys.argv[1]).write_text("done")
"""


def test_work_goes_on_when_the_reader_of_its_lines_is_gone(tmp_path: Path) -> None:
    for stream in ("stdout", "stderr"):
        done = tmp_path / stream
        run = subprocess.Popen(
            [sys.executable, "-c", WORK, str(done), stream], cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT, text=True,
        )  # fmt: skip
        assert run.stdin is not None and run.stdout is not None
        assert run.stdout.readline() == "begun\n"
        run.stdout.close()
        run.stdin.write("go\n")
        run.stdin.close()
        assert run.wait(timeout=60) == 0
        assert done.read_text() == "done"


def unreadable_table(folder: Path) -> None:
    (folder / "cases.csv").write_text("image,mask\n")
    list(read_table(folder / "cases.csv", folder, ("label",)))


def bug_of_a_library(_folder: Path) -> None:
    json.loads("{")


def bug_of_ours(_folder: Path) -> None:
    output._shorten(None)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("cause", "traced"), [(unreadable_table, False), (bug_of_a_library, True), (bug_of_ours, True)]
)
def test_an_error_with_a_message_for_people_is_one_line(
    cause: Callable[[Path], None], traced: bool, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    logger = logging.getLogger("prefect.flow_runs")
    with caplog.at_level("INFO", logger.name):
        logger.addHandler(caplog.handler)
        try:
            cause(tmp_path)
        except Exception as error:
            logger.exception("Encountered exception during execution: %r", error)
        finally:
            logger.removeHandler(caplog.handler)
    assert ("Traceback" in caplog.text) is traced
    if not traced:
        assert "cases.csv has no column 'label'" in caplog.messages[0]
