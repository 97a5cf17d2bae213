"""A case-based run whose process is killed in every stage goes on to the same bits."""

import os
import signal
from collections.abc import Callable, Iterator
from dataclasses import replace
from multiprocessing import get_context
from pathlib import Path

import numpy as np
import pytest
from pydantic import TypeAdapter

from lesionlens.config.training import PrototypeConfig, RunConfig, TrainingConfig
from lesionlens.records import EpochResult, SampleArrays
from lesionlens.training.prototypes import fit as module
from lesionlens.training.prototypes.fit import fit_prototypes

pytestmark = pytest.mark.usefixtures("thin")

TINY = PrototypeConfig(per_class=2, channels=8, warm=2, push_every=2, last=2, rounds=1, prune=(4, 2), topk=0.3)
KILLS = ("epoch 2", "epoch 4", "push", "epoch 6", "prune", "epoch 8")
"""In warm, joint, push, last layer, prune, and the last layer after it."""
RESULTS = TypeAdapter(list[EpochResult])


def die() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def train(course: Iterator[EpochResult], record: Path, known: list[EpochResult], event: str) -> None:
    """Trains until the event: an epoch whose files are written and that the record does not hold yet, or a step."""

    def dying(step: Callable[..., None]) -> Callable[..., None]:
        def done(*given: object) -> None:
            step(*given)
            die()

        return done

    if event in ("push", "prune"):
        setattr(module, event, dying(getattr(module, event)))
    for result in course:
        if event == f"epoch {result.epoch}":
            die()
        known.append(replace(result, seconds=0.0))
        unfinished = record.with_suffix(".new")
        unfinished.write_bytes(RESULTS.dump_json(known))
        unfinished.replace(record)


def test_killed_in_every_stage_a_run_ends_in_the_same_bits(
    make_patches: Callable[..., SampleArrays],
    make_run: Callable[..., RunConfig],
    make_training: Callable[..., TrainingConfig],
    tmp_path: Path,
) -> None:
    made = make_patches(24, 12, size=64)
    masks = np.zeros_like(made.masks)
    masks[::2, 10:30, 20:50] = True
    patches = replace(made, masks=masks, has_mask=masks.any(axis=(1, 2)))
    run, training = make_run("resnet18", system="prototype", batch_size=8), make_training(prototypes=TINY)

    def course(name: str, known: list[EpochResult]) -> Iterator[EpochResult]:
        resume = known[-1].checkpoints if known else ()
        return fit_prototypes(run, training, patches, tmp_path / name, tmp_path / "cache", "cpu", resume)

    whole = [replace(result, seconds=0.0) for result in course("whole", [])]
    record = tmp_path / "record.json"
    for event in (*KILLS, "none"):
        known = RESULTS.validate_json(record.read_bytes()) if record.exists() else []
        child = get_context("fork").Process(target=train, args=(course("killed", known), record, known, event))
        child.start()
        child.join()
        assert child.exitcode == (0 if event == "none" else -signal.SIGKILL), event
    assert RESULTS.validate_json(record.read_bytes()) == whole and len(whole) == TINY.epochs
    for checkpoint in whole[-1].checkpoints:
        both = ((tmp_path / name / checkpoint.path).read_bytes() for name in ("whole", "killed"))
        assert next(both) == next(both)
