"""Training: the same steps and runs by lesionlens and by PyTorch Lightning, side by side.

    python -m benchmarks.train                            ResNet50 and VGG19 at 224, five rounds, one thread
    python -m benchmarks.train --bfloat16                 and in bfloat16, beside Lightning's bf16-mixed
    python -m benchmarks.train --small                    a try in a minute: ResNet18 at 96

Rounds are interleaved: in each one both sides take the same steps from the same weights. Seconds are CPU seconds of the
process (all threads, reading and writing included); for a GPU see `benchmarks/gpu.sh`. lesionlens keeps freed memory,
as the pipeline's tasks do; the peer has the C library's defaults.

Whole runs at 224 would take days on one thread, so they are composed from what was measured: epochs x (steps of an
epoch x seconds of a step + batches of the validation split x seconds of a batch + seconds of a checkpoint), and on
lesionlens' side once the building of the cache and once its digests per run. The last table shows how far such a sum
is from whole grids that really ran, at a size where that takes minutes.
"""

import argparse
import tempfile
from pathlib import Path

import torch

from benchmarks.train_grid import whole_grid
from benchmarks.train_measure import Measured, composed, goals_of, measure, show_precisions, show_steps
from benchmarks.train_ours import CPU, Bench, bench_of
from lesionlens.config.training import Precision
from lesionlens.processes import keep_freed_memory

PATCHES, HELD_OUT = 2150, 380
"""Training and validation patches of the study: 2,530 with 15 % for validation."""
EPOCHS = {"phase 1": 15, "phase 2": 15, "phase 3": 15, "S2": 45}
"""Epochs of a run, about 45, as composed; the study names no more than its winners' best epochs."""


def show_runs(bench: Bench, found: Measured) -> None:
    """Whole runs of the study's size, composed from it."""
    goals, epochs = goals_of(bench), EPOCHS
    peer, ours = (composed(found, side, bench.run.batch_size, PATCHES, HELD_OUT, epochs) for side in ("peer", "ours"))
    names = {"one S1": "one strategy-1 run", "one S2": "one strategy-2 run", "S1": "six strategy-1 runs",
             "S2": "six strategy-2 runs", "grid": "twelve runs, one cache"}  # fmt: skip
    print(f"\nComposed for {PATCHES + HELD_OUT} patches, epochs {epochs}, cache building charged, in hours:\n")
    print("| | Lightning, in memory | lesionlens | ratio | goal |")
    print("|---|---|---|---|---|")
    for key, label in names.items():
        ratio = peer[key] / ours[key]
        print(f"| {label} | {peer[key] / 3600:.2f} | {ours[key] / 3600:.2f} | {ratio:.2f} | {goals.get(key, '')} |")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--backbone", nargs="*", default=["resnet50", "vgg19"])
    parser.add_argument("--size", type=int, default=224)
    parser.add_argument("--batch", type=int, default=16)
    parser.add_argument("--steps", type=int, default=3, help="of a phase and round; the first warms up")
    parser.add_argument("--no-grid", action="store_true", help="leave the whole runs of resnet18 out")
    parser.add_argument("--small", action="store_true", help="resnet18 at 96 px, two rounds")
    parser.add_argument("--bfloat16", action="store_true", help="and in bfloat16, the peer in bf16-mixed, in turns")
    given = parser.parse_args()
    wanted: list[Precision] = ["float32", "bfloat16"] if given.bfloat16 else ["float32"]
    if given.small:
        given.backbone, given.size, given.rounds = ["resnet18"], 96, 2
    torch.set_num_threads(1)
    keep_freed_memory()
    with tempfile.TemporaryDirectory() as name:
        print(f"One thread, {given.rounds} interleaved rounds, CPU seconds of the process, medians.")
        for backbone in given.backbone:
            train = given.steps * given.batch
            benches = [
                bench_of(
                    backbone,
                    given.size,
                    given.batch,
                    train,
                    given.batch,
                    Path(name) / f"{backbone} {each}",
                    "cpu",
                    each,
                )
                for each in wanted
            ]
            found = measure(benches, given.rounds, CPU, 0)
            for bench, own in zip(benches, found, strict=True):
                show_steps(bench, own)
                show_runs(bench, own)
            if len(found) > 1:
                show_precisions(*found)
        if not given.no_grid:
            whole_grid(Path(name) / "grid", given.rounds, CPU)


if __name__ == "__main__":
    main()
