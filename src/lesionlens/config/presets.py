"""Named studies: `demo` (phantom, minutes on two cores), `paper` (the study, literally), `sound` (the default)."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from lesionlens.config.data import BackgroundConfig, DataConfig, ImageConfig, PatchConfig, PhantomConfig, SplitConfig
from lesionlens.config.evaluation import ALL, BOXES, EvaluationConfig
from lesionlens.config.films import demo_films, petrini, shen
from lesionlens.config.study import StudyConfig
from lesionlens.config.training import (
    DetectorConfig,
    GridConfig,
    HyperSet,
    PrototypeConfig,
    StoppingConfig,
    TrainingConfig,
)
from lesionlens.config.words import plain_words

RECIPE = TrainingConfig(augment="patch", stopping=StoppingConfig(keep="averaged", max_epochs=12))
"""What real masses asked for (docs/results.md): variants, and no stopping by a loss that sees too sure logits alone."""
RECIPE_SETS = (HyperSet(batch_size=16, head_rate=1e-3, unit1_rate=1e-4),)
PRESETS = ("demo", "detector", "paper", "small", "sound")


def demo() -> StudyConfig:
    """Two small backbones, two strategies, untrained stems, on phantom mammograms."""
    return StudyConfig(
        name="demo",
        data=DataConfig(
            source="phantom", phantom=PhantomConfig(train_per_class=44, test_per_class=20, callback_free=40)
        ),
        patches=PatchConfig(size=96, jitter=0.5),
        background=BackgroundConfig(size="matched", train=90, test=40, per_image=2),
        training=TrainingConfig(weights="none", precision="auto", stopping=StoppingConfig(patience=3, max_epochs=6)),
        grid=GridConfig(
            backbones=("vgg11_bn", "resnet18"),
            sets=(HyperSet(batch_size=16, head_rate=1e-3, unit1_rate=3e-4),),
        ),
        evaluation=EvaluationConfig(randomisation_samples=12),
    )


def demo_systems() -> tuple[StudyConfig, ...]:
    """Studies that ask more than the demo does: its runs by every method, which are not trained anew, and cases."""
    found = demo()
    every = EvaluationConfig(methods=ALL, randomisation_samples=12, perturbation_samples=3)
    # VGG11 takes four times as long for a pass, and the methods of many passes take a thousand for a sample
    grid = found.grid.model_copy(update={"backbones": ("resnet18",), "strategies": ("gradual",)})
    methods = found.model_copy(update={"name": "demo, every method", "grid": grid, "evaluation": every})
    return methods, *demo_films(demo()), *demo_cases(), demo_detector()


def barnett(root: Path) -> tuple[StudyConfig, ...]:
    """Margins of masses by a black box, and by cases that start from it (Barnett et al. 2021)."""
    base = sound(root).model_copy(
        update={
            "data": DataConfig(root=root, classes="margins"),
            "training": TrainingConfig(stopping=StoppingConfig(start="loaded")),
            "evaluation": EvaluationConfig(),
        }
    )
    grid = GridConfig(backbones=("vgg16",), strategies=("gradual",), sets=(HyperSet(),))
    return _with_cases(
        "barnett", base, grid, PrototypeConfig(), HyperSet(batch_size=32, head_rate=3e-3, unit1_rate=2e-4)
    )


def demo_cases() -> tuple[StudyConfig, ...]:
    """`barnett` on phantom masses, in minutes; its schedule and the weight of the annotations are tuned for them."""
    base = StudyConfig(
        data=DataConfig(
            source="phantom",
            classes="margins",
            phantom=PhantomConfig(height=640, train_per_class=60, test_per_class=24, callback_free=2, margins=True),
        ),
        patches=PatchConfig(size=96, jitter=0.5),
        training=TrainingConfig(weights="none", stopping=StoppingConfig(patience=3, max_epochs=6)),
        evaluation=EvaluationConfig(randomisation_samples=0),
    )
    sets = (HyperSet(batch_size=16, head_rate=1e-3, unit1_rate=3e-4),)
    grid = GridConfig(backbones=("vgg11_bn",), strategies=("simultaneous",), sets=sets)
    cases = PrototypeConfig(per_class=4, channels=64, warm=4, push_every=4, last=8, rounds=2, fine=0.003)
    return _with_cases("demo, cases", base, grid, cases, HyperSet(batch_size=16, head_rate=3e-3, unit1_rate=2e-4))


def _with_cases(
    name: str, base: StudyConfig, grid: GridConfig, cases: PrototypeConfig, hyper: HyperSet
) -> tuple[StudyConfig, ...]:
    """A black box, and prototypes that start from it, on the same samples."""
    first = base.model_copy(update={"name": f"{name}: black box", "grid": grid})
    second = {
        "name": f"{name}: prototypes",
        "training": base.training.model_copy(update={"start": first.name, "prototypes": cases}),
        "grid": grid.model_copy(update={"system": "prototype", "strategies": ("gradual",), "sets": (hyper,)}),
        "evaluation": base.evaluation.model_copy(update={"methods": ("prototypes", "grad_cam")}),
    }
    return first, base.model_copy(update=second)


def demo_detector() -> StudyConfig:
    """A slim detector from random weights on small phantom films: it finds what a bright blob does not."""
    return StudyConfig(
        name="demo, detector",
        data=DataConfig(
            source="phantom",
            phantom=PhantomConfig(height=640, train_per_class=20, test_per_class=12, callback_free=4),
        ),
        unit="image",
        images=ImageConfig(height=320, width=200),
        training=TrainingConfig(
            weights="none",
            augment="flips",
            detector=DetectorConfig(channels=64),
            stopping=StoppingConfig(patience=3, max_epochs=3),
        ),
        grid=GridConfig(
            system="detector",
            backbones=("resnet18",),
            strategies=("simultaneous",),
            sets=(HyperSet(batch_size=4, head_rate=3e-4, unit1_rate=3e-4),),
        ),
        evaluation=EvaluationConfig(methods=(BOXES,), randomisation_samples=0),
    )


def paper(root: Path) -> StudyConfig:
    """What the study did, as literally as can be established."""
    return StudyConfig(
        name="paper",
        data=DataConfig(root=root),
        patches=PatchConfig(aspect="stretch", per="image", component="all", context=3.0, jitter=0.0),
        background=BackgroundConfig(size=550, per_image=6),  # 4 give about 284 of the 310 test patches
        split=SplitConfig(rule="paper", group="patch"),
        training=TrainingConfig(head="drawn", normalise="per_class"),
        evaluation=EvaluationConfig(layer="conv", scaling="minmax", explains="logit", policy="fixed", selection="loss"),
    )


def sound(root: Path) -> StudyConfig:
    """The same question asked in a way that stands up."""
    return StudyConfig(
        name="sound",
        data=DataConfig(root=root),
        patches=PatchConfig(aspect="keep", per="lesion", jitter=1.0),
        background=BackgroundConfig(size="matched"),
        split=SplitConfig(rule="sound", group="patient"),
        training=RECIPE,
        grid=GridConfig(strategies=("last_block",), sets=RECIPE_SETS, seeds=(0, 1, 2)),
        evaluation=EvaluationConfig(flips=True),
    )


def small(root: Path) -> StudyConfig:
    """`sound` for a few hundred lesions: light backbones, patches as small as `size_for` says."""
    return sound(root).model_copy(
        update={
            "name": "small",
            "background": BackgroundConfig(size="matched", train=150, test=60),
            "grid": GridConfig(
                backbones=("resnet18", "efficientnet_b0"),
                strategies=("last_block",),
                sets=RECIPE_SETS,
                seeds=(0, 1, 2),
            ),
        }
    )


def detector(root: Path) -> StudyConfig:
    """Lesions found on whole films: FCOS on ResNet50 from ImageNet, three seeds."""
    return StudyConfig(
        name="detector",
        data=DataConfig(root=root),
        unit="image",
        training=TrainingConfig(augment="flips", stopping=StoppingConfig(patience=5, max_epochs=30)),
        grid=GridConfig(
            system="detector",
            backbones=("resnet50",),
            strategies=("simultaneous",),
            sets=(HyperSet(batch_size=4, head_rate=1e-4, unit1_rate=3e-5),),
            seeds=(0, 1, 2),
        ),
        evaluation=EvaluationConfig(methods=(BOXES,)),
    )


SEVERAL: dict[str, Callable[[Path], tuple[StudyConfig, ...]]] = {"barnett": barnett, "petrini": petrini, "shen": shen}
"""Presets of several studies, named `preset: part`, which run one after another; a later one may start from an earlier
one by its name.
"""


def preset(name: str, root: Path | None = None) -> tuple[StudyConfig, ...]:
    """The studies of the preset of that name. ValueError for an unknown name or a missing data folder."""
    if name == "demo":
        return (demo(),)
    if name not in (*PRESETS, *SEVERAL):
        raise ValueError(f"no preset {name!r}: choose one of {', '.join((*PRESETS, *SEVERAL))}")
    if root is None:
        raise ValueError(
            f"preset {name!r} needs a data folder, for example: lesionlens study --data /path/to/cbis-ddsm"
        )
    if name in SEVERAL:
        return SEVERAL[name](root)
    return ({"detector": detector, "paper": paper, "small": small, "sound": sound}[name](root),)


def layered(name: str, *layers: Mapping[str, Any]) -> tuple[StudyConfig, ...]:
    """A preset with options laid over each of its studies, later ones over earlier ones; parts are merged, lists
    replaced. Where it has several, a name replaces what stands before the colon of theirs.

    ValueError, in plain words, where an option is unknown or takes no such value.
    """
    found: list[StudyConfig] = []
    renamed: dict[str, str] = {}
    for study in preset(name, Path()):
        values = study.model_dump(mode="json")
        own, start = str(values["name"]), values["training"]["start"]
        values["training"]["start"] = renamed.get(start, start)
        if values["data"]["source"] != "phantom":
            values["data"]["root"] = None
        for layer in layers:
            values = _merged(values, layer)
        if name in SEVERAL and values["name"] != own:
            values["name"] = renamed[own] = f"{values['name']}: {own.partition(': ')[2]}"
        try:
            found.append(StudyConfig.model_validate(values))
        except ValidationError as error:
            raise ValueError(plain_words(error, StudyConfig)) from None
    return tuple(found)


def _merged(below: Mapping[str, Any], above: Mapping[str, Any]) -> dict[str, Any]:
    both = {
        name: _merged(below[name], value)
        for name, value in above.items()
        if isinstance(value, Mapping) and isinstance(below.get(name), Mapping)
    }
    return {**below, **above, **both}
