"""Every measurement of the GPU path, one after another, into a JSON file and a table.

    bash benchmarks/gpu.sh FOLDER               at most ten minutes on a GPU
    bash benchmarks/gpu.sh FOLDER --rehearse    everything once, tiny, on the CPU

What FOLDER/gpu.json holds of the same device and torch is not measured again, so the script goes on where it was cut
off; what failed there is tried again. No measurement begins after --seconds.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import torch

from benchmarks.gpu import steps
from benchmarks.gpu.films import films
from benchmarks.gpu.setting import Setting, tiny
from benchmarks.gpu.steps import Result

ROOT = Path(__file__).resolve().parents[2]
TESTS = ("tests/unit/training/test_epochs.py", "tests/unit/test_evaluate.py")


def gpu_tests() -> Result:
    """The tests marked `gpu`; where there is none they are skipped."""
    alone = ["--confcutdir=tests/unit", "-p", "no:cacheprovider", "-n0"]  # the record's fixtures need PostgreSQL
    asked = [sys.executable, "-m", "pytest", "-m", "gpu", "-q", *alone, *TESTS]
    done = subprocess.run(asked, cwd=ROOT, capture_output=True, text=True, env={**os.environ, "PYTEST_ADDOPTS": ""})
    if done.returncode:
        raise RuntimeError((done.stdout + done.stderr)[-2000:])
    return {"pytest": done.stdout.strip().splitlines()[-1].strip("= ")}


def measurements(setting: Setting) -> dict[str, Callable[[], Result]]:
    """All of them by name, the most wanted first."""
    of_backbone = {"steps": steps.modes, "bfloat16": steps.bfloat16, "Lightning": steps.lightning}
    return {
        "tests": gpu_tests,
        **{
            f"{name}, {backbone}": partial(work, setting, backbone)
            for name, work in of_backbone.items()
            for backbone in setting.backbones
        },
        **{f"runs at once, {count}": partial(steps.side_by_side, setting, count) for count in setting.at_once},
        "films": partial(films, setting),
        "the study's grid": partial(steps.whole_grid, setting),
    }


def machine(setting: Setting) -> dict[str, str]:
    """What must be the same for figures to stand beside each other."""
    return {"device": setting.name, "torch": str(torch.__version__), "patches": f"{setting.size} px"}


def known(file: Path, setting: Setting) -> dict[str, Any]:
    """What the file holds of this machine, without what failed."""
    before = json.loads(file.read_text()) if file.exists() else {}
    if before.get("machine") != machine(setting):
        return {}
    return {name: result for name, result in before["results"].items() if "failed" not in result}


def measure(setting: Setting, out: Path, seconds: float) -> dict[str, Any]:
    """All that is not known yet, until the time is over; the file is written after each."""
    out.mkdir(parents=True, exist_ok=True)
    file, began = out / "gpu.json", time.monotonic()
    results = known(file, setting)
    for name, work in measurements(setting).items():
        if name in results or time.monotonic() - began > seconds:
            continue
        print(name, flush=True)
        started = time.monotonic()
        try:
            results[name] = work()
        except Exception as error:  # one that fails must not cost the others
            results[name] = {"failed": f"{type(error).__name__}: {error}"}
        results[name]["seconds"] = round(time.monotonic() - started, 1)
        written = file.with_suffix(".new")
        written.write_text(json.dumps({"machine": machine(setting), "results": results}, indent=1))
        written.replace(file)
        (out / "gpu.md").write_text(table(setting, results))
    return results


def table(setting: Setting, results: dict[str, Any]) -> str:
    """Everything measured, in Markdown."""
    lines = [", ".join(machine(setting).values()), "", "| | | |", "|---|---|---|"]
    for name, result in results.items():
        for what, value in result.items():
            shown = f"{value:.4g}" if isinstance(value, float) else " ".join(str(value).split())[:200]
            lines.append(f"| {name} | {what} | {shown} |")
    return "\n".join(lines) + "\n"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out", type=Path, metavar="FOLDER")
    parser.add_argument("--seconds", type=float, default=480)
    parser.add_argument("--rehearse", action="store_true", help="tiny sizes, on the CPU")
    given = parser.parse_args()
    if not given.rehearse and not torch.cuda.is_available():
        parser.error("torch finds no CUDA device here; --rehearse tries the script on the CPU")
    with tempfile.TemporaryDirectory() as name:
        setting = tiny(Path(name)) if given.rehearse else Setting("cuda", Path(name))
        results = measure(setting, given.out, given.seconds)
    print((given.out / "gpu.md").read_text())
    failed = [name for name, result in results.items() if "failed" in result]
    if failed or results.keys() != measurements(setting).keys():
        sys.exit(f"not measured: {', '.join(failed) or 'what the time did not allow'}; run it again to go on")


if __name__ == "__main__":
    main()
