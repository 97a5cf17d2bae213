"""Freed memory stays with the process; numbers do not change. In a process of its own, as the setting does."""

import json
import subprocess
import sys

import pytest

PROGRAM = """
import json, resource, sys, torch
from lesionlens.processes import keep_freed_memory
torch.set_num_threads(1)
agreed = keep_freed_memory() if sys.argv[1] == "kept" else None
torch.manual_seed(0)
network = torch.nn.Sequential(torch.nn.Conv2d(3, 32, 3), torch.nn.ReLU(), torch.nn.Conv2d(32, 8, 3))
images = torch.randn(4, 3, 300, 300)
def step():
    network.zero_grad()
    value = network(images).square().mean()
    value.backward()
    return value.item()
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
