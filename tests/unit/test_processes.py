"""Freed memory stays with the process; numbers do not change. In a process of its own, as the setting does."""

import json
import subprocess
import sys

import pytest

PROGRAM = """
import json, resource, sys
import numpy as np
from lesionlens.processes import keep_freed_memory
agreed = keep_freed_memory() if sys.argv[1] == "kept" else None
def step():
    return float(np.ones(10_000_000, np.float32).sum())  # 40 MB, which glibc gives back at once by default
step(); step()
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
values = [step() for _ in range(5)]
print(json.dumps([agreed, resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before, values]))
"""


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="a setting of glibc")
def test_steps_ask_the_system_for_no_more_memory() -> None:
    found = {}
    for way in ("kept", "given back"):
        done = subprocess.run([sys.executable, "-c", PROGRAM, way], capture_output=True, text=True, check=True)
        found[way] = json.loads(done.stdout)
    agreed, pages, values = found["kept"]
    assert agreed is True
    assert pages < found["given back"][1] / 4
    assert values == found["given back"][2]
