"""Presets of whole films: after Shen et al. 2019 and Petrini et al. 2022, and tiny ones on phantoms."""

from pathlib import Path

from lesionlens.config.data import BackgroundConfig, DataConfig, ImageConfig, PatchConfig, PhantomConfig
from lesionlens.config.evaluation import EvaluationConfig
from lesionlens.config.study import StudyConfig
from lesionlens.config.training import Backbone, GridConfig, HyperSet, StoppingConfig, Top, TrainingConfig


def demo_films(base: StudyConfig) -> tuple[StudyConfig, ...]:
    """Fewer mammograms than `base` has: whole films by a network that begins with one of patches at their scale, then
    breasts of both views."""
    films = ImageConfig(height=224, width=140)
    phantom = PhantomConfig(height=640, train_per_class=18, test_per_class=10, callback_free=18)
    patches = base.model_copy(
        update={
            "name": "demo films: patches",
            "data": DataConfig(source="phantom", phantom=phantom),
            "patches": PatchConfig(size=64, frame="image", copies=2),
            "images": films,
            "grid": GridConfig(
                backbones=("resnet18",), strategies=("simultaneous",),
                sets=(HyperSet(batch_size=16, head_rate=1e-3, unit1_rate=3e-4),),
            ),
            "evaluation": EvaluationConfig(randomisation_samples=0),
        }
    )  # fmt: skip
    whole = base.model_copy(
        update={
            "name": "demo films: films",
            "data": patches.data,
            "unit": "image",
            "images": films,
            "training": TrainingConfig(
                weights="none", start=patches.name, top="residual", balance="class_weights",
                stopping=StoppingConfig(patience=2, max_epochs=2, monitor="auc"),
            ),
            "grid": GridConfig(
                backbones=("resnet18",), strategies=("two_step",),
                sets=(HyperSet(batch_size=8, head_rate=3e-4, unit1_rate=3e-5),),
            ),
            "evaluation": EvaluationConfig(randomisation_samples=4),
        }
    )  # fmt: skip
    sets = (HyperSet(batch_size=8, head_rate=3e-4, unit1_rate=3e-5),)
    return patches, whole, _both_views("demo films: breasts", whole, sets)


def _of_films(
    name: str, root: Path, backbones: tuple[Backbone, ...], top: Top, first: HyperSet, then: HyperSet
) -> tuple[StudyConfig, StudyConfig]:
    """Patches at a film's scale, and films that begin with their network."""
    films = ImageConfig(height=1152, width=896)
    patches = StudyConfig(
        name=f"{name}: patches",
        data=DataConfig(root=root),
        patches=PatchConfig(size=224, frame="image", copies=10),
        images=films,
        background=BackgroundConfig(size="matched", train=2000, per_image=10),
        training=TrainingConfig(augment="flips", stopping=StoppingConfig(start="loaded", max_epochs=40)),
        grid=GridConfig(backbones=backbones, strategies=("gradual",), sets=(first,)),
    )
    training = TrainingConfig(
        start=patches.name, top=top, augment="mammogram", balance="class_weights",
        stopping=StoppingConfig(start="loaded", patience=10, max_epochs=30, monitor="auc", min_delta=0.001),
    )  # fmt: skip
    whole = StudyConfig(
        name=f"{name}: films",
        data=DataConfig(root=root),
        unit="image",
        images=films,
        training=training,
        grid=GridConfig(backbones=backbones, strategies=("two_step",), sets=(then,)),
        evaluation=EvaluationConfig(flips=name == "shen"),
    )
    return patches, whole


def shen(root: Path) -> tuple[StudyConfig, ...]:
    """Whole films after Shen et al. 2019: patches at a film's scale, films that begin with their network, and films
    that begin with ImageNet alone."""
    first, then = (
        HyperSet(batch_size=32, head_rate=1e-3, unit1_rate=1e-4),
        HyperSet(batch_size=8, head_rate=1e-4, unit1_rate=1e-5),
    )
    patches, whole = _of_films("shen", root, ("resnet50", "vgg16"), "residual", first, then)
    training = whole.training.model_copy(update={"start": None})
    return patches, whole, whole.model_copy(update={"name": "shen: films from ImageNet", "training": training})


def petrini(root: Path) -> tuple[StudyConfig, ...]:
    """One view and two after Petrini et al. 2022: patches, films that begin with their network, and breasts, both views
    at once, that begin with the films'."""
    first, then = (
        HyperSet(batch_size=32, head_rate=1e-3, unit1_rate=1e-4),
        HyperSet(batch_size=8, head_rate=1e-4, unit1_rate=1e-5),
    )
    patches, whole = _of_films("petrini", root, ("efficientnet_b0",), "mbconv", first, then)
    sets = (HyperSet(batch_size=8, head_rate=1e-3, unit1_rate=1e-5),)
    return patches, whole, _both_views("petrini: breasts", whole, sets)


def _both_views(name: str, films: StudyConfig, sets: tuple[HyperSet, ...]) -> StudyConfig:
    """Breasts that begin with the network of the study of films. Published without augmentation."""
    joined = {"start": films.name, "top": "two_views", "augment": "none"}
    return films.model_copy(
        update={
            "name": name,
            "unit": "breast",
            "training": films.training.model_copy(update=joined),
            "grid": films.grid.model_copy(update={"sets": sets}),
        }
    )
