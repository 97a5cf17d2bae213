"""Seven studies that try to fool the answer, or to be believed, each trained and answered end to end.

Images are drawn by numpy: tissue with a soft round or a star-shaped lesion, both annotated by the same disc. What tells
benign from malignant differs: the lesion's shape, film grain, a cross beside the lesion, or nothing. In one the lesions
of `honest` are filled in as the occlusion test does it: what is left must not tell the classes apart.
"""

import csv
import html
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from numpy.typing import NDArray
from PIL import Image

from lesionlens.audits.occlusion import VARIANTS
from lesionlens.config.data import BackgroundConfig, DataConfig, PatchConfig
from lesionlens.config.evaluation import EvaluationConfig
from lesionlens.config.study import StudyConfig
from lesionlens.config.training import GridConfig, GuidanceConfig, HyperSet, StoppingConfig, TrainingConfig
from lesionlens.samples.filling import grown_hulls, inpainted
from tests.system.conftest import Home

pytestmark = pytest.mark.slow

SIDE = 128
COUNTS = {"train": 48, "validation": 12, "test": 36}
"""Images of each class."""
CLASSES = ("healthy", "benign", "malignant")


@dataclass(frozen=True)
class World:
    """How images are made. shape, grain, cross: what malignant ones have. lesions: whether any is drawn at all."""

    name: str
    classes: tuple[str, ...] = CLASSES
    shape: bool = False
    grain: bool = False
    cross: bool = False
    lesions: bool = True
    filled: bool = False
    dealt: bool = False
    """Whether the labels of the training and validation images are dealt anew."""
    guided: float = 0.0
    """Weight of guidance: maps are trained to lie on lesions, whatever decides."""


WORLDS = {
    world.name: world
    for world in (
        World("honest", shape=True),
        World("filled", shape=True, filled=True),
        World("scanner", grain=True),
        World("marker", cross=True),
        World("guided", cross=True, guided=1.0),
        World("placebo", CLASSES[1:], grain=True, lesions=False),
        World("shuffled", CLASSES[1:], shape=True, dealt=True),
    )
}


def tissue(rng: np.random.Generator) -> NDArray[np.float64]:
    coarse = Image.fromarray(rng.integers(70, 120, (10, 10), dtype=np.uint8))
    return np.asarray(coarse.resize((SIDE, SIDE), Image.Resampling.BICUBIC)).astype(np.float64)


def image(world: World, label: str, rng: np.random.Generator) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """Grey values, and the annotation: a disc around the lesion."""
    grey = tissue(rng)
    x, y = rng.uniform(44, SIDE - 44, 2)
    radius, turn = rng.uniform(13, 16), rng.uniform(0, 2 * np.pi)
    rows, columns = np.mgrid[:SIDE, :SIDE]
    distance, angle = np.hypot(columns - x, rows - y), np.arctan2(rows - y, columns - x)
    malignant = label == "malignant"
    star = malignant if world.shape else rng.random() < 0.5
    edge = radius * (0.62 + 0.38 * np.cos(3 * angle + turn) ** 2 if star else 0.85)
    if world.lesions and label != "healthy":
        grey += 75 / (1 + np.exp((distance - edge) / (0.6 if star else 1.5)))
    if world.cross and malignant:
        place = rng.uniform(0, 2 * np.pi)
        a, b = int(x + 1.9 * radius * np.cos(place)), int(y + 1.9 * radius * np.sin(place))
        grey[b - 1 : b + 2, a - 5 : a + 6] = grey[b - 5 : b + 6, a - 1 : a + 2] = 235
    if world.grain and malignant:
        grey += rng.normal(0, 7, grey.shape)
    pixels, mask = np.clip(grey, 0, 255).astype(np.uint8), distance < radius
    if world.filled:
        pixels = inpainted(pixels[None], grown_hulls(mask[None], VARIANTS["smooth"][1]))[0]
    return pixels, mask.astype(np.uint8)


def draw(root: Path, world: World) -> Path:
    """A folder with a manifest; every image is of a patient of its own."""
    rng, rows = np.random.default_rng(5), []
    for folder in ("images", "masks"):
        (root / folder).mkdir(parents=True)
    for split, count in COUNTS.items():
        labels = rng.permutation([label for label in world.classes for _ in range(count)])
        shown = rng.permutation(labels) if world.dealt and split != "test" else labels
        for label, named in zip(labels, shown, strict=True):
            name = f"{len(rows):03d}.png"
            grey, mask = image(world, str(label), rng)
            Image.fromarray(grey).save(root / "images" / name)
            if label != "healthy":
                Image.fromarray(mask).save(root / "masks" / name)
            annotated = "" if label == "healthy" else f"masks/{name}"
            rows.append({"image": f"images/{name}", "mask": annotated, "label": named, "patient": f"p{len(rows)}"}
                        | {"split": split})  # fmt: skip
    with (root / "manifest.csv").open("w", newline="") as file:
        table = csv.DictWriter(file, list(rows[0]))
        table.writeheader()
        table.writerows(rows)
    return root


def study(world: World, root: Path) -> StudyConfig:
    return StudyConfig(
        name=world.name,
        data=DataConfig(root=draw(root / world.name, world)),
        patches=PatchConfig(size=96, jitter=1.0),
        background=BackgroundConfig(size="matched", train=COUNTS["train"], test=COUNTS["test"], per_image=1),
        training=TrainingConfig(weights="none", stopping=StoppingConfig(patience=4, max_epochs=4)),
        grid=GridConfig(
            backbones=("vgg11_bn",), strategies=("simultaneous",),
            sets=(HyperSet(batch_size=16, head_rate=1e-3, unit1_rate=3e-4),),
            guidance=(GuidanceConfig(weight=world.guided),),
        ),
        evaluation=EvaluationConfig(resamples=300, randomisation_samples=4),
    )  # fmt: skip


@pytest.fixture(scope="module")
def answered(
    new_home: Callable[..., Home], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Callable[[str], dict]]:
    """What page and view say of a world: verdicts over all lesions by question."""
    home, root = new_home(thin=True), tmp_path_factory.mktemp("worlds")

    def answer(name: str) -> dict:
        done = home.study(study(WORLDS[name], root))
        assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-6000:]
        (page,) = (home.path / "reports").glob(f"{name}-*.html")
        bare = re.sub(r"<(style|script).*?</\1>|<[^>]+>", " ", page.read_text(), flags=re.S)
        stored = home.sql("SELECT study, question, group_name, verdict, sentence FROM answers").filter(study=name)
        text = " ".join(html.unescape(bare).split())
        for sentence in stored["sentence"]:
            assert " ".join(sentence.split()) in text
        whole = stored.filter(pl.col("group_name").is_null())
        for question, verdict in whole.select("question", "verdict").rows():
            assert f"{question.capitalize()}: {verdict}" in text
        return dict(whole.select("question", "verdict").rows())

    with home.kept_server():
        yield answer


ANY = ("no", "not shown", "partly", "yes")
NEVER = ANY[:2]
FOUND = ("yes", "partly")
"""After four epochs the lower end above the best baseline is 0.004 to 0.016: rounding of another processor may take it
below 0. What these two studies are about is the diagnosis."""


@pytest.mark.parametrize(
    ("name", "detection", "diagnosis"),
    [
        ("honest", ("yes",), ("yes",)),
        ("scanner", FOUND, ("no",)),
        ("marker", FOUND, ("no",)),
        ("guided", NEVER, ("no",)),
        ("filled", ANY, NEVER),
        ("placebo", (), NEVER),
        ("shuffled", (), NEVER),
    ],
)
def test_the_answer_is_not_fooled(answered: Callable, name: str, detection: tuple, diagnosis: tuple) -> None:
    verdicts = answered(name)
    assert set(verdicts) == ({"detection", "diagnosis"} if detection else {"diagnosis"})
    assert verdicts["diagnosis"] in diagnosis
    assert verdicts.get("detection") in (detection or (None,))
