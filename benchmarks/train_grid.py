"""Twelve whole runs on both sides, beside what their steps would have foretold."""

import shutil
import statistics
from collections.abc import Callable
from pathlib import Path

from benchmarks.allocation import of_a_script
from benchmarks.train_measure import Measured, composed, measure, show_steps
from benchmarks.train_ours import agreement, bench_of, fit_run
from benchmarks.train_peer import fit_run as fit_peer
from benchmarks.train_peer import in_memory
from lesionlens.config.training import HyperSet, RunConfig, StoppingConfig, TrainingConfig
from lesionlens.models.classifier import Classifier
from lesionlens.training.checkpoints import load_model


def whole_grid(folder: Path, rounds: int, clock: Callable[[], float]) -> None:
    """Twelve runs of ResNet18 at 96 px that really run on both sides, and what their steps would have foretold."""
    epochs = {"phase 1": 2, "phase 2": 2, "phase 3": 2, "S2": 6}
    bench = bench_of("resnet18", 96, 16, 128, 32, folder / "steps")
    found = measure([bench], rounds, clock, 0)[0]
    rates = [(head, unit) for head in (1e-4, 1e-3) for unit in (1e-5, 3e-5, 3e-4)]
    sets = [HyperSet(batch_size=16, head_rate=head, unit1_rate=unit) for head, unit in rates]
    seconds = {("peer", "S1"): 0.0, ("peer", "S2"): 0.0, ("ours", "S1"): 0.0, ("ours", "S2"): 0.0}
    losses, same = [], []
    memory = in_memory(bench.inputs)
    shutil.rmtree(folder / "steps" / "cache", ignore_errors=True)
    for number, (strategy, hyper) in enumerate((s, h) for s in ("gradual", "simultaneous") for h in sets):
        run = RunConfig.model_validate({"backbone": "resnet18", "strategy": strategy, **hyper.model_dump()})
        most = epochs["phase 1"] if strategy == "gradual" else epochs["S2"]
        stopping = StoppingConfig(max_epochs=most, patience=most)
        training = TrainingConfig(weights="none", stopping=stopping)
        place = folder / f"{number}"
        ends: dict[str, tuple[float, Classifier]] = {}
        for side in ("ours", "peer") if number % 2 else ("peer", "ours"):
            started = clock()
            if side == "ours":
                loss, best = fit_run(bench.first, run, training, bench.patches, place, folder / "cache")
            else:
                with of_a_script():
                    ends[side] = fit_peer(bench.first, run, training, memory, bench.rows, folder / "peer")
            seconds[side, "S1" if strategy == "gradual" else "S2"] += clock() - started
        ends["ours"] = loss, load_model(run, training, bench.patches.classes, place, best)
        losses.append(abs(ends["ours"][0] - ends["peer"][0]))
        same.append(agreement([ends["ours"][1], ends["peer"][1]], bench.inputs, bench.rows[1]))
        shutil.rmtree(place)
        shutil.rmtree(folder / "peer")
    show_steps(bench, found)
    _show_grid(found, seconds, epochs)
    print(
        f"\nBest validation loss of the twelve runs differs by {statistics.median(losses):.1e} in the median, "
        f"{max(losses):.1e} at most; {100 * statistics.mean(same):.1f} % of predictions are the same."
    )


def _show_grid(found: Measured, seconds: dict[tuple[str, str], float], epochs: dict[str, int]) -> None:
    print("\n#### Twelve whole runs: resnet18, 96 px, 128 + 32 patches, six epochs each, from an empty cache\n")
    print("| CPU seconds | Lightning, in memory | lesionlens | ratio | composed ratio |")
    print("|---|---|---|---|---|")
    peer, ours = (composed(found, side, 16, 128, 32, epochs) for side in ("peer", "ours"))
    for key, label in (("S1", "six strategy-1 runs"), ("S2", "six strategy-2 runs, cache there")):
        a, b = seconds["peer", key], seconds["ours", key]
        built = 0.0 if key == "S1" else found.middle("ours", "build") * 160
        print(f"| {label} | {a:.1f} | {b:.1f} | {a / b:.2f} | {peer[key] / (ours[key] - built):.2f} |")
    a, b = (sum(v for (side, _), v in seconds.items() if side == name) for name in ("peer", "ours"))
    print(f"| twelve runs, one cache | {a:.1f} | {b:.1f} | {a / b:.2f} | {peer['grid'] / ours['grid']:.2f} |")
