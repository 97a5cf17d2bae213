"""Does guidance take the decision off a marker that gives the class away? What docs/results.md says of it.

    python -m benchmarks.marker             trains what the record lacks: ten runs, a quarter of an hour on two cores
    python -m benchmarks.marker --small     a try in minutes: one seed, few patients

Phantom films with a bright cross beside every malignant lesion; each seed trains unguided and guided at weight 1. The
AUC of malignancy given a lesion is taken on the test lesions with their markers and on the same films without any. 95 %
intervals resample patients, of the mean over seeds; differences are paired by lesion and seed.
"""

import argparse
import json
import subprocess
import sys
import tempfile
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from benchmarks.real import CPU, RESAMPLES, shown
from db import studies
from db.bulk import frame
from db.engine import make_engine
from db.queries import arrays
from db.studies import RunRow
from lesionlens.audits.decision import Score, area, mean_of
from lesionlens.config.training import Normalise
from lesionlens.models.classifier import Classifier
from lesionlens.records import Checkpoint, SampleArrays
from lesionlens.scoring.binary import binary_views, conditional
from lesionlens.scoring.bootstrap import draw
from lesionlens.settings import home
from lesionlens.training.checkpoints import checkpoint_folder, load_model
from lesionlens.training.inputs import Inputs

WEIGHTS = (0.0, 1.0)
NAMES = {1.0: "with markers", 0.0: "marker-free"}
"""By the probability of a marker beside a malignant lesion."""


def configured(confounder: float, small: bool) -> dict[str, Any]:
    """What differs from the preset `demo`."""
    counts = {"train_per_class": 6, "test_per_class": 4} if small else {"train_per_class": 44, "test_per_class": 30}
    return {
        "name": f"marker{' (small)' if small else ''}: {NAMES[confounder]}",
        "data": {"phantom": {"height": 500, "confounder": confounder} | counts},
        "training": {"stopping": {"patience": 4, "max_epochs": 4}},
        "grid": {
            "backbones": ["vgg11_bn"], "strategies": ["simultaneous"], "seeds": [0] if small else list(range(5)),
            "guidance": [{"weight": weight} for weight in WEIGHTS],
        },
    }  # fmt: skip


def recorded(config: dict[str, Any], train: bool) -> None:
    """Bring the study's samples into the record, and its trained runs."""
    with tempfile.NamedTemporaryFile("w", suffix=".json") as file:
        json.dump(config, file)
        file.flush()
        steps = [["prepare", "--preset", "demo", "--config", file.name], ["train", config["name"]]]
        for step in steps if train else steps[:1]:
            subprocess.run([sys.executable, "-m", "commands", *step], check=True)


@dataclass(frozen=True)
class Recorded:
    """Samples by the probability of markers; what the trained runs are, and the ordinals of malignant and of all lesion
    classes."""

    samples: dict[float, SampleArrays]
    runs: list[tuple[RunRow, Checkpoint]]
    malignant: list[int]
    lesions: list[int]


def read(configs: dict[float, dict[str, Any]]) -> Recorded:
    """Both studies of the record."""
    with make_engine().connect() as connection:
        found = {at: studies.find_study(connection, config["name"]) for at, config in configs.items()}
        numbers = {at: studies.study_row(connection, study).sample_set_id for at, study in found.items()}
        samples = {at: arrays.load_samples(connection, number) for at, number in numbers.items()}
        views = binary_views(samples[1.0], arrays.sample_attributes(connection, numbers[1.0]))
        runs = frame(connection, "SELECT study_id, run_id FROM runs ORDER BY run_id").filter(study_id=found[1.0])
        rows = [studies.run_row(connection, run) for run in runs["run_id"]]
        kept = [(row, studies.checkpoints(connection, row.id)[0]) for row in rows]
    return Recorded(samples, kept, *views["malignant"])


def scored(given: Recorded) -> dict[tuple[float, float], list[Score]]:
    """AUC of every seed by the weight of guidance and the probability of markers."""
    test = {at: samples.split("test") for at, samples in given.samples.items()}
    same_lesions(*test.values())
    own, lesions = given.samples[1.0], test[1.0]
    truth, used = np.isin(lesions.labels, given.malignant), np.isin(lesions.labels, given.lesions)
    clusters = draw(lesions.patients, RESAMPLES, np.random.default_rng(0))
    print(f"{used.sum()} test lesions, {truth.sum()} malignant, of {len(set(lesions.patients[used]))} patients")
    scores: dict[tuple[float, float], list[Score]] = {}
    for row, checkpoint in given.runs:
        folder = checkpoint_folder(home().ensure().checkpoints, row.digest)
        model = load_model(row.config, row.training, own.classes, folder, checkpoint)
        for at, split in test.items():
            chances = told(model, replace(split, statistics=own.statistics), row.training.normalise)
            score = conditional(chances, given.malignant, given.lesions)
            scores.setdefault((row.config.guidance.weight, at), []).append(area(score, truth, used, clusters))
    return scores


def main() -> None:
    """Train and score."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0] if __doc__ else None)
    parser.add_argument("--small", action="store_true", help="a try in minutes")
    options = parser.parse_args()
    configs = {at: configured(at, options.small) for at in NAMES}
    for at, config in configs.items():
        recorded(config, train=at > 0)
    scores = scored(read(configs))
    for at, name in NAMES.items():
        means = [mean_of(scores[weight, at]) for weight in WEIGHTS]
        for weight, mean in zip(WEIGHTS, means, strict=True):
            each = ", ".join(f"{score.value:.3f}" for score in scores[weight, at])
            print(f"{name}, weight {weight:g}: AUC {shown(mean)}; seeds {each}")
        print(f"{name}, weight {WEIGHTS[1]:g} minus {WEIGHTS[0]:g}: {shown(means[1].minus(means[0]))}")


def same_lesions(one: SampleArrays, other: SampleArrays) -> None:
    """Leave where two test splits are not the same windows of the same patients, markers apart."""
    same = (one.patients == other.patients).all() and (one.labels == other.labels).all()
    if not same or not (one.masks == other.masks).all():
        raise SystemExit("the films without markers are not those with markers")


@torch.no_grad()
def told(model: Classifier, test: SampleArrays, normalise: Normalise) -> NDArray[np.float32]:
    """Probabilities float32 [n, classes]."""
    inputs = Inputs(test, normalise, CPU)
    batches = torch.split(torch.arange(len(test.ids)), 32)
    return torch.cat([torch.softmax(model(inputs(rows)), dim=1) for rows in batches]).numpy()


if __name__ == "__main__":
    main()
