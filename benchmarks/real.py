"""What docs/results.md says of the training recipe on the real masses of CBIS-DDSM, measured anew.

    python -m benchmarks.real --weights vgg16.pth             trains what the record lacks, then scores; about an hour
    python -m benchmarks.real --weights vgg16.pth --evaluate  and evaluates and reports, 10 minutes more a run
    python -m benchmarks.real --weights vgg16.pth --flips     and scores eight views of a sample, minutes more a study
    python -m benchmarks.real --weights vgg16.pth --square    square windows, in which these squashed masses look wide

The data are ../shared/cbis/masses (`--data` names another folder); its README says how the weights of VGG16 are made.
Studies, three seeds each: the recipe of `sound`, without it (`plain`), so and normalised by statistics of the true
class (`leak`), on two blocks by either of the study's strategies (`strategies`, in bfloat16 where that pays), with
annotations at weight 3 beside weight 0 (`guided`) and with a part of them (`fractions`), with lesions in other
patients' tissue (`surroundings`); of one seed, by every attribution method on a part of the test split (`methods`), and
the same run in bfloat16 (`bfloat16`: ask for `methods`, too), and the preset `paper` by either strategy with one set
(`paper gradual`, `paper simultaneous`); and where a study stores variants the reference, a penalised regression on
block 4 of the first weights. AUC of malignancy on the test split, the mean of the seeds, of a sample as it is or over
its eight flips and quarter turns; differences are paired. 95 % intervals by patient, the same 1,000 resamples for all
studies of the same samples. Where a study was evaluated, what its decisions rest on follows.
"""

import argparse
import json
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from benchmarks.real_evaluated import agreement, decided
from db import studies
from db.bulk import frame
from db.engine import make_engine
from db.queries import arrays
from lesionlens.audits.decision import Score, area, mean_of
from lesionlens.audits.shortcuts import block_means, reference
from lesionlens.config.evaluation import ALL
from lesionlens.config.study import StudyConfig
from lesionlens.config.training import Strategy
from lesionlens.models.classifier import Classifier, Level
from lesionlens.records import SampleArrays
from lesionlens.scoring.bootstrap import Clusters, draw, interval
from lesionlens.scoring.calibration import SMALLEST, cross_entropy, validation_scores
from lesionlens.settings import home
from lesionlens.training.augment import COPIES, WAYS, draw_variants, turned
from lesionlens.training.checkpoints import checkpoint_folder, load_model
from lesionlens.training.feature_cache import FeatureCache
from lesionlens.training.fit import first_model
from lesionlens.training.inputs import Inputs, cached, computed
from lesionlens.training.strategies import PHASES

DATA = Path(__file__).resolve().parents[2] / "shared/cbis/masses"
PLAIN = {"augment": "none", "stopping": {"keep": "lowest", "start": "anew", "patience": 7, "max_epochs": 12}}
PAPER = {"batch_size": 16, "unit1_rate": 3e-5}
OFFICIAL = {"rule": "official"}  # the study's own test split is drawn from CBIS-DDSM's files
STUDIES: dict[str, dict[str, Any]] = {
    "recipe": {},
    "plain": {"training": PLAIN},
    "leak": {"training": PLAIN | {"normalise": "per_class"}},
    "strategies": {
        "training": PLAIN | {"precision": "auto"},
        "grid": {"strategies": ["gradual", "simultaneous"]},
        "evaluation": {"flips": False},
    },
    "guided": {"grid": {"guidance": [{"weight": 0}, {"weight": 3}]}},
    "fractions": {
        "training": {"precision": "auto"},
        "grid": {"guidance": [{"weight": 0}, *({"weight": 3, "fraction": fraction} for fraction in (0.01, 0.1, 1))]},
        "evaluation": {"flips": False},
    },
    "surroundings": {"training": {"augment": "surroundings"}},
    "bfloat16": {"training": {"precision": "bfloat16"}, "grid": {"seeds": [0]}},
    "methods": {"grid": {"seeds": [0]}, "evaluation": {"methods": list(ALL), "perturbation_samples": 12}},
    "paper gradual": {"split": OFFICIAL, "grid": {"strategies": ["gradual"], "sets": [PAPER]}},
    "paper simultaneous": {"split": OFFICIAL, "grid": {"strategies": ["simultaneous"], "sets": [PAPER]}},
}
"""What differs from the preset on VGG16 and patches of 112 px; of several guidances the last is scored."""
RESAMPLES = 1000
CPU = torch.device("cpu")


@dataclass(frozen=True, slots=True, eq=False)
class Told:
    """Probabilities of one run for the test and the validation split, and the test split's means over eight flips and
    turns where they are asked for; float32 [n, classes]."""

    strategy: Strategy
    test: NDArray[np.float32]
    validation: NDArray[np.float32]
    flips: NDArray[np.float32] | None = None


def preset_of(name: str) -> str:
    """What a study is laid over."""
    return "paper" if name.startswith("paper ") else "sound"


def configured(name: str, data: Path, weights: Path, square: bool = False) -> dict[str, Any]:
    """The options of a study over its preset."""
    own = STUDIES[name]
    return {
        "name": f"masses{', square windows' if square else ''}: {name}",
        "data": {"name": "CBIS-DDSM masses, 800 px", "root": str(data)},
        # the films were squashed to squares: windows of the box's shape give lesions about their own back
        "patches": {"size": 112, "aspect": "keep" if square else "stretch"},
        "training": {"weights": str(weights)} | own.get("training", {}),
        "split": own.get("split", {}),
        "grid": {"backbones": ["vgg16"]} | own.get("grid", {}),
        "evaluation": {"randomisation_samples": 0, "flips": preset_of(name) == "sound"} | own.get("evaluation", {}),
    }


def trained(preset: str, config: dict[str, Any], evaluate: bool) -> None:
    """Bring the study into the record, trained; with `evaluate` evaluated and with its report."""
    with tempfile.NamedTemporaryFile("w", suffix=".json") as file:
        json.dump(config, file)
        file.flush()
        asked = ["--preset", preset, "--config", file.name]
        steps = [["study", *asked]] if evaluate else [["prepare", *asked], ["train", config["name"]]]
        for step in steps:
            subprocess.run([sys.executable, "-m", "commands", *step], check=True)


def told(title: str, flips: bool) -> tuple[SampleArrays, StudyConfig, list[Told]]:
    """The samples of a study, and what every run's model says of them."""
    with make_engine().connect() as connection:
        study = studies.find_study(connection, title)
        config = StudyConfig.model_validate(studies.study_config(connection, study))
        samples = arrays.load_samples(connection, studies.study_row(connection, study).sample_set_id)
        numbers = frame(connection, "SELECT study_id, run_id, status FROM runs ORDER BY run_id").filter(
            study_id=study, status="finished"
        )["run_id"]
        rows = [studies.run_row(connection, number) for number in numbers]
        runs = [row for row in rows if row.config.guidance == config.grid.guidance[-1]]
        kept = [studies.checkpoints(connection, row.id)[0] for row in runs]
    paths, found, views = home().ensure(), [], list[Tensor]()
    test = Inputs(samples.split("test"), config.training.normalise, CPU)
    inputs = Inputs(samples, config.training.normalise, CPU, draw_variants(samples, config.training.augment))
    for run, checkpoint in zip(runs, kept, strict=True):
        folder = checkpoint_folder(paths.checkpoints, run.digest)
        model = load_model(run.config, run.training, samples.classes, folder, checkpoint)
        level = PHASES[run.config.strategy][-1].level
        stored = FeatureCache(paths.cache, inputs).known(model, level)
        source = computed(model, level, inputs) if stored is None else cached(stored, CPU)
        parts = {}
        with torch.no_grad():
            for split in ("test", "validation"):
                batches = torch.split(torch.from_numpy(np.flatnonzero(samples.splits == split)), 32)
                logits = torch.cat([model.from_level(level, source(rows)) for rows in batches])
                parts[split] = torch.softmax(logits.double(), dim=1).float().numpy()
        if flips and not views:  # what lies below the level was not trained, so every run has the same
            views = eight_views(model, level, test)
        found.append(Told(run.config.strategy, parts["test"], parts["validation"], mean_of_views(model, level, views)))
    return samples, config, found


@torch.no_grad()
def eight_views(model: Classifier, level: Level, test: Inputs) -> list[Tensor]:
    """A level's values [n, ...] of the samples in each of their eight flips and quarter turns."""
    pixels = test(range(len(test)))
    ways = [turned(pixels, torch.full((len(pixels),), way)) for way in range(WAYS)]
    return [torch.cat([model.to_level(level, batch) for batch in torch.split(way, 32)]) for way in ways]


@torch.no_grad()
def mean_of_views(model: Classifier, level: Level, views: list[Tensor]) -> NDArray[np.float32] | None:
    """Mean probabilities float32 [n, classes] over views, None without any."""
    chances = [torch.softmax(model.from_level(level, view).double(), dim=1) for view in views]
    return torch.stack(chances).mean(dim=0).float().numpy() if chances else None


def referred(samples: SampleArrays, config: StudyConfig) -> NDArray[np.float32]:
    """The reference's probabilities of the test split."""
    variants = draw_variants(samples, config.training.augment)
    inputs = Inputs(samples, config.training.normalise, CPU, variants)
    model = first_model(config.grid.runs()[0], config.training, samples)
    found = reference(
        block_means(model, inputs, FeatureCache(home().ensure().cache, inputs).known(model, "unit2")),
        samples,
        np.zeros(0, np.int64) if variants is None else variants.of,
    )
    assert found is not None
    return found[0]


def by_strategy(name: str, runs: list[Told]) -> dict[str, list[Told]]:
    """The runs of a study under its name, with the strategy where there are several."""
    strategies = list(dict.fromkeys(run.strategy for run in runs))
    if len(strategies) == 1:
        return {name: runs}
    return {f"{name}, {strategy}": [run for run in runs if run.strategy == strategy] for strategy in strategies}


def losses(runs: list[Told], samples: SampleArrays, clusters: Clusters) -> str:
    """Mean test loss of the seeds before and after the temperature of validation, with the latter's interval."""
    test, validation = (samples.split(split).labels for split in ("test", "validation"))
    raw, scaled, temperatures = [], [], []
    for run in runs:
        temperature = float(validation_scores(run.validation, validation)["temperature"][0])
        logits = np.log(np.maximum(run.test.astype(np.float64), SMALLEST))
        raw.append(cross_entropy(logits, test))
        each = logits / temperature
        each = each - np.log(np.exp(each).sum(axis=1, keepdims=True))
        scaled.append(-each[np.arange(len(test)), test])
        temperatures.append(temperature)
    mean = np.mean(scaled, axis=0)
    resampled = clusters.sums(np.stack([mean, np.ones(len(mean))], axis=1))
    low, high = interval(resampled[:, :1] / resampled[:, 1:], 0.95, 1000, 0, np.inf)
    listed = ", ".join(f"{temperature:.1f}" for temperature in temperatures)
    return f"test loss {np.mean(raw):.3f}; scaled {mean.mean():.3f} ({low[0]:.3f} to {high[0]:.3f}); T {listed}"


def shown(score: Score) -> str:
    """Value and interval."""
    low, high = interval(score.resampled[:, None], 0.95, score.patients, -1)
    return f"{score.value:.3f} ({low[0]:.3f} to {high[0]:.3f})"


def main() -> None:
    """Train and score."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0] if __doc__ else None)
    parser.add_argument("--weights", type=Path, required=True, help="VGG16's convolutions, as torchvision names them")
    parser.add_argument("--data", type=Path, default=DATA)
    parser.add_argument("--studies", nargs="+", choices=list(STUDIES), default=["recipe", "plain"])
    parser.add_argument("--evaluate", action="store_true", help="also maps, audits and the reports")
    parser.add_argument("--square", action="store_true", help="square windows instead of such of the box's shape")
    parser.add_argument("--flips", action="store_true", help="also eight flips and quarter turns of a sample")
    options = parser.parse_args()
    if not options.data.is_dir():
        raise SystemExit(f"{options.data} is not there: name the folder of masses by --data")
    areas: dict[str, Score] = {}
    asked_of: set[tuple[str, ...]] = set()
    for name in options.studies:
        own = configured(name, options.data.resolve(), options.weights.resolve(), options.square)
        trained(preset_of(name), own, options.evaluate)
        samples, config, runs = told(own["name"], options.flips)
        test = samples.split("test")
        clusters = draw(test.patients, RESAMPLES, np.random.default_rng(0))
        asked_of.add(tuple(np.unique(test.patients)))
        if len(asked_of) > 1:
            raise SystemExit(f"the test patients of {name} are others than before: ask for it alone")
        column = samples.classes.index("MALIGNANT")
        malignant, everyone = test.labels == column, np.ones(len(test.ids), np.bool_)
        print(f"n {len(test.ids)} of {len(np.unique(test.patients))} patients, {int(malignant.sum())} malignant")
        if "reference" not in areas and config.training.augment in COPIES:  # whose features training stored
            scores = referred(samples, config)[:, column]
            areas["reference"] = area(scores, malignant, everyone, clusters)
            print(f"reference: AUC {shown(areas['reference'])}")
        groups = by_strategy(name, runs)
        asked = {title: [run.test for run in of] for title, of in groups.items()}
        if options.flips:
            for title, of in groups.items():
                asked[f"{title}, 8 views"] = [run.flips for run in of if run.flips is not None]
        for views, chances in asked.items():
            each = [area(seed[:, column], malignant, everyone, clusters) for seed in chances]
            areas[views] = mean_of(each)
            print(f"{views}: AUC {shown(areas[views])}; seeds {', '.join(f'{score.value:.3f}' for score in each)}")
            for other in [key for key in areas if key != views]:
                print(f"{views} minus {other}: {shown(areas[views].minus(areas[other]))}")
        for title, of in groups.items():
            print(f"{title}: {losses(of, samples, clusters)}")
        decided(own["name"])
        if name == "bfloat16":
            agreement(configured("methods", options.data, options.weights, options.square)["name"], own["name"])


if __name__ == "__main__":
    main()
