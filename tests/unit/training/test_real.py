"""The studies of real masses that benchmarks.real measures, and the loss that it prints."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from benchmarks import films
from benchmarks.real import STUDIES, Told, by_strategy, configured, losses, preset_of
from lesionlens.config.evaluation import ALL
from lesionlens.config.presets import layered, paper
from lesionlens.config.study import StudyConfig
from lesionlens.records import SampleArrays
from lesionlens.scoring.bootstrap import draw

Capture = pytest.CaptureFixture[str]


def test_studies_differ_from_the_recipe_in_training_alone(tmp_path: Path) -> None:
    found = {
        name: layered("sound", configured(name, tmp_path, tmp_path / "own.pth"))[0]
        for name in STUDIES
        if preset_of(name) == "sound"
    }
    kept = {name: (each.training.augment, each.training.stopping.keep) for name, each in found.items()}
    assert {name: (*kept[name], each.grid.strategies) for name, each in found.items()} == {
        "recipe": ("patch", "averaged", ("last_block",)),
        "plain": ("none", "lowest", ("last_block",)),
        "leak": ("none", "lowest", ("last_block",)),
        "strategies": ("none", "lowest", ("gradual", "simultaneous")),
        "guided": ("patch", "averaged", ("last_block",)),
        "fractions": ("patch", "averaged", ("last_block",)),
        "surroundings": ("surroundings", "averaged", ("last_block",)),
        "bfloat16": ("patch", "averaged", ("last_block",)),
        "methods": ("patch", "averaged", ("last_block",)),
    }
    square = layered("sound", configured("recipe", tmp_path, tmp_path / "own.pth", square=True))[0]
    assert (square.patches.aspect, square.training) == ("keep", found["recipe"].training)
    normalised = {name: each.training.normalise for name, each in found.items()}
    assert normalised == {name: "per_class" if name == "leak" else "train" for name in found}
    weights = {name: [(shown.weight, shown.fraction) for shown in each.grid.guidance] for name, each in found.items()}
    guided = {"guided": [(0, 1), (3, 1)], "fractions": [(0, 1), (3, 0.01), (3, 0.1), (3, 1)]}
    assert weights == {name: guided.get(name, [(0, 1)]) for name in found}
    methods, reduced = found.pop("methods"), found.pop("bfloat16")  # the recipe's first run, trained once for both
    assert reduced.training == methods.training.model_copy(update={"precision": "bfloat16"})
    assert reduced.grid == methods.grid and reduced.evaluation.methods[0] == methods.evaluation.methods[0]
    assert methods.grid.runs()[0] == found["recipe"].grid.runs()[0] and methods.evaluation.methods == ALL
    assert methods.training == found["recipe"].training and methods.patches == found["recipe"].patches
    assert len({(each.patches, each.split, each.grid.sets, each.grid.seeds) for each in found.values()}) == 1
    assert {run.backbone for each in found.values() for run in each.grid.runs()} == {"vgg16"}


def test_the_published_protocol_differs_in_network_and_size_alone(tmp_path: Path) -> None:
    theirs, literal = [], paper(tmp_path)
    for name in ("paper gradual", "paper simultaneous"):
        assert preset_of(name) == "paper"
        theirs += layered("paper", configured(name, tmp_path, tmp_path / "own.pth"))
    assert [run.strategy for each in theirs for run in each.grid.runs()] == ["gradual", "simultaneous"]
    for each in theirs:
        assert each.patches == literal.patches.model_copy(update={"size": 112})
        assert each.split == literal.split.model_copy(update={"rule": "official"})
        own = each.model_copy(update={"data": each.data.model_copy(update={"source": "manifest"})})
        assert StudyConfig.model_validate(own.model_dump()) == own  # the study's rule of splits is refused there
        assert each.training == literal.training.model_copy(update={"weights": each.training.weights})
        assert each.evaluation == literal.evaluation.model_copy(update={"randomisation_samples": 0})
        assert set(each.grid.sets) < set(literal.grid.sets) and each.grid.seeds == literal.grid.seeds


def test_films_begin_with_patches_at_their_scale_and_breasts_with_films(tmp_path: Path) -> None:
    weights = tmp_path / "own.pth"
    found = {name: layered("sound", films.configured(name, tmp_path, weights))[0] for name in films.STUDIES}
    begun = {name: each.training.start for name, each in found.items()}
    assert begun == {
        "patches": None, "films from patches": "masses: patches", "films from ImageNet": None,
        "breasts": "masses: films from patches",
    }  # fmt: skip
    assert [each.unit for each in found.values()] == ["patch", "image", "image", "breast"]
    assert len({(each.images, each.split, each.seed, each.data) for each in found.values()}) == 1
    patches, one, other, breasts = found.values()
    assert patches.patches.frame == "image" and one.training.model_copy(update={"start": None}) == other.training
    assert one.grid == other.grid == breasts.grid and breasts.training.top == "two_views"


def test_paired_scores_are_those_of_all_that_both_have(monkeypatch: pytest.MonkeyPatch, capsys: Capture) -> None:
    """Two studies, of which one lacks a film; the other tells malignant films perfectly and lies twice as well."""
    keys = [f"film {n}" for n in range(40)]
    label = ["MALIGNANT" if n % 2 else "BENIGN" for n in range(40)]
    lifts = [None if n < 10 else 1.0 + n % 2 for n in range(40)]
    base = pl.DataFrame({"key": keys, "patient": keys, "label": label, "lift": lifts})
    told = {
        "good": base.with_columns(malignant=pl.Series([float(n % 2) for n in range(40)]), lift=2 * pl.col("lift")),
        "bad": base.with_columns(malignant=pl.Series([n / 40 for n in range(40)])).filter(pl.col("key") != "film 39"),
    }
    monkeypatch.setattr(films, "rows", lambda _, name: told[name])
    films.compared(films.SAMPLES, ["good", "bad"], "films")
    lines = dict(line.strip().split(": ") for line in capsys.readouterr().out.splitlines()[1:])
    assert lines["auc, good"].startswith("1.000 (1.000 to 1.000)")
    assert float(lines["auc, bad"].split()[0]) == pytest.approx(0.5, abs=0.03)
    assert lines["lift, good"].startswith("2.97") and lines["lift, good minus bad"].startswith("1.48 (1.")


def test_a_network_that_is_too_sure_is_given_its_temperature(tiny_patches: Callable[..., SampleArrays]) -> None:
    """Logits three times too large: the temperature of validation is about 3, and the scaled loss lower."""
    patches, rng, sure = tiny_patches(1500, 32), np.random.default_rng(0), []
    for split in ("test", "validation"):
        labels = patches.split(split).labels
        logits = rng.normal(size=(len(labels), 5)) + 1.5 * np.eye(5)[labels]
        told = np.exp(3 * 1.5 * logits)
        sure.append((told / told.sum(axis=1, keepdims=True)).astype(np.float32))
    test = patches.split("test")
    words = losses([Told("last_block", *sure)], patches, draw(test.patients, 100, rng)).split()
    raw, scaled, temperature = (float(words[i].strip(";(),")) for i in (2, 4, -1))
    assert temperature == pytest.approx(3, rel=0.2) and scaled < raw - 0.3 and float(words[5].strip("(")) < scaled


def test_runs_of_several_strategies_are_scored_apart() -> None:
    none = np.zeros((0, 2), np.float32)
    runs = [Told(strategy, none, none) for strategy in ("gradual", "simultaneous", "gradual")]
    assert by_strategy("one", runs[:1]) == {"one": runs[:1]}
    assert by_strategy("two", runs) == {"two, gradual": runs[::2], "two, simultaneous": runs[1:2]}
