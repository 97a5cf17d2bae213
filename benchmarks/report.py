"""Rendering the report of a full grid: 48 runs, 860 test patches of 224 pixels. Seconds, peak memory, size of the page.

    python -m benchmarks.report [--copies 6] [--per-class 172]

The data are those of the report's tests, at full size: eight runs are drawn, and stand six times with other
hyper-parameters, as in the published grid. Of each six, one is selected by validation loss; all pairs are compared.
"""

import argparse
import resource
import sys
import time
from dataclasses import replace
from itertools import combinations, product

import numpy as np
import polars as pl

from lesionlens.records import ReportData
from lesionlens.reporting.page import render
from tests.report_data import build

GRID = tuple(product(("vgg16", "vgg19", "resnet34", "resnet50"), ("gradual", "simultaneous")))
SETS = tuple(product((8, 16, 32), (3e-5, 3e-4)))
SIDE = 14
NUMBERS = {"run_id": len(GRID), "evaluation_id": len(GRID)}


def full(copies: int, per_class: int) -> ReportData:
    """Report data of `copies` hyper-parameter sets for each of eight cells."""
    data = build(runs=GRID, per_class=per_class, size=224)
    frames = {}
    for name, found in data.frames.items():
        columns = [column for column in NUMBERS if column in found.columns]
        if "run_id" not in columns or name == "selected_runs":
            frames[name] = found
            continue
        moved = ([pl.col(column) + copy * NUMBERS[column] for column in columns] for copy in range(copies))
        frames[name] = pl.concat([found.with_columns(columns) for columns in moved])
    cell = (pl.col("run_id") - 1) // len(GRID)
    for name in ("runs", "table_2_accuracy"):
        frames[name] = frames[name].with_columns(
            batch_size=cell.replace_strict(dict(enumerate(batch for batch, _ in SETS))),
            unit1_rate=cell.replace_strict(dict(enumerate(rate for _, rate in SETS))),
        )
    frames["maps"] = _as_large_as_vgg(frames["maps"])
    pairs = [{"run_a": a, "run_b": b} for a, b in combinations(frames["runs"]["run_id"], 2)]
    values = {"difference": 0.1, "low": 0.0, "high": 0.2, "p_holm": 1.0, "seeds": 1, "lowest": 0.1, "highest": 0.1}
    frames["comparison"] = pl.DataFrame(
        [pair | {"score": score} | values | {"n": 860} for pair in pairs for score in ("accuracy", "ll")]
    )
    return replace(data, frames=frames)


def _as_large_as_vgg(maps: pl.DataFrame) -> pl.DataFrame:
    """The same number of maps at 14 x 14, the last convolution of a VGG: the largest grids of a study at 224 pixels."""
    values = np.random.default_rng(0).normal(size=(maps.height, SIDE * SIDE)).astype(np.float32)
    grids = pl.Series("grid", values, dtype=pl.Array(pl.Float32, SIDE * SIDE)).cast(pl.List(pl.Float32))
    return maps.with_columns(grids, rows=pl.lit(SIDE), cols=pl.lit(SIDE))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--copies", type=int, default=len(SETS), choices=range(1, len(SETS) + 1))
    parser.add_argument("--per-class", type=int, default=172)
    options = parser.parse_args()
    data = full(options.copies, options.per_class)
    before = peak()
    started, cpu = time.perf_counter(), time.process_time()
    rendered = render(data)
    seconds, cpu = time.perf_counter() - started, time.process_time() - cpu
    print(f"{data.frames['runs'].height} runs, {data.frames['gallery'].height} patches")
    print(f"{seconds:.1f} s to render ({cpu:.1f} s of CPU)")
    print(f"{peak():,.0f} MB peak memory of the process, {before:,.0f} MB before rendering")
    print(f"{len(rendered.page.encode()) / 1e6:.1f} MB page")
    print(f"{sum(len(text.encode()) for text in rendered.files.values()) / 1e6:.1f} MB in {len(rendered.files)} files")


def peak() -> float:
    """Peak resident memory of this process so far, in MB."""
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 1e6


if __name__ == "__main__":
    main()
