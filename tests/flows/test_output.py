"""A run outlives whoever reads its output."""

import subprocess
import sys
from pathlib import Path

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
