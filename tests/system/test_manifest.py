"""Anyone's own images, from a folder with a manifest to a report that knows nothing of CBIS-DDSM."""

import csv
import html
import re
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from lesionlens.config.data import BackgroundConfig, DataConfig, PatchConfig
from lesionlens.config.evaluation import EvaluationConfig
from lesionlens.config.study import StudyConfig
from lesionlens.config.training import GridConfig, HyperSet, StoppingConfig, TrainingConfig
from tests.system.conftest import Home
from tests.unit.files import Own

pytestmark = pytest.mark.slow

KINDS = {"ring": "png", "blob": "tif", "plain": "jpg"}


def draw(root: Path) -> Path:
    """24 images a class: a bright ring, a bright blob, and tissue alone; 16-bit TIFF, PNG and JPEG."""
    rows = []
    rng = np.random.default_rng(0)
    (root / "images").mkdir(parents=True)
    (root / "masks").mkdir()
    for n in range(60):
        label = list(KINDS)[n % 3]
        grey = np.asarray(
            Image.fromarray(rng.integers(70, 130, (12, 10), dtype=np.uint8)).resize(
                (160, 192), Image.Resampling.BICUBIC
            )
        ).astype(np.float64)
        x, y, radius = rng.uniform(50, 110), rng.uniform(60, 130), rng.uniform(10, 16)
        distance = np.hypot(np.arange(160)[None] - x, np.arange(192)[:, None] - y)
        shape = (distance < radius) & ((distance > radius * 0.6) | (label == "blob"))
        name = f"images/{n:02d}.{KINDS[label]}"
        if label != "plain":
            grey[shape] += 90
            Image.fromarray((distance < radius).astype(np.uint8)).save(root / f"masks/{n:02d}.png")  # 0 and 1
        deep = (grey * 257).astype(np.uint16) if KINDS[label] == "tif" else grey.astype(np.uint8)
        Image.fromarray(deep).save(root / name)
        mask = "" if label == "plain" else f"masks/{n:02d}.png"
        rows.append({"image": name, "mask": mask, "label": label, "patient": f"patient {n // 2}"})
    rows[0]["mask"] = "masks/lost.png"
    with (root / "manifest.csv").open("w", newline="") as file:
        table = csv.DictWriter(file, list(rows[0]))
        table.writeheader()
        table.writerows(rows)
    return root


def study(root: Path) -> StudyConfig:
    return StudyConfig(
        name="shapes",
        data=DataConfig(root=root),  # what it holds is found out
        patches=PatchConfig(size=48, jitter=0.5),
        background=BackgroundConfig(size="matched", train=14, test=5, per_image=1),
        training=TrainingConfig(weights="none", stopping=StoppingConfig(patience=1, max_epochs=1)),
        grid=GridConfig(
            backbones=("resnet18",), strategies=("simultaneous",), sets=(HyperSet(batch_size=8, head_rate=1e-3),)
        ),
        evaluation=EvaluationConfig(resamples=100, randomisation_samples=2),
    )


@pytest.fixture(scope="module")
def shapes(new_home: Callable[..., Home], tmp_path_factory: pytest.TempPathFactory) -> Home:
    home = new_home(thin=True)
    done = home.study(study(draw(tmp_path_factory.mktemp("own") / "shapes")))
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-6000:]
    return home


def test_the_report_speaks_of_the_own_classes_alone(shapes: Home) -> None:
    page = next((shapes.path / "reports").glob("*.html")).read_text()
    text = re.sub(
        r"\s+", " ", html.unescape(re.sub(r"<[^>]+>", " ", re.sub(r"<(style|script).*?</\1>", "", page, flags=re.S)))
    )
    for words in ("ring", "blob", "plain", "3 classes", "own images", "no mask file"):
        assert words in text, words
    text = text.replace('"rates": "published"', "")  # an option's value in the configuration
    for words in ("CBIS", "calcification", "malignant", "benign", "published", "radiologist’s mass"):
        assert words not in text, words
    assert "True class plain blob ring" in text  # one word for code and name stands once
    assert 'id="contact-sheet"' in page and page.count('class="whole"') == 12


def test_the_record_holds_every_row_with_patches_or_a_reason(shapes: Home) -> None:
    labels = shapes.sql("SELECT code, is_lesion FROM label ORDER BY ordinal").rows()
    assert labels == [("plain", "f"), ("blob", "t"), ("ring", "t")]
    lost = shapes.sql(
        "SELECT lesion.key, exclusion.reason FROM lesion LEFT JOIN sample ON sample.lesion_id = lesion.id"
        " LEFT JOIN exclusion ON exclusion.lesion_id = lesion.id WHERE sample.id IS NULL"
    )
    assert lost.rows() == [("images/00.png#1", "mask_missing")]
    assert shapes.sql("SELECT count(*) FROM split_check WHERE shared > 0").item() == "0"
    splits = shapes.sql("SELECT DISTINCT split FROM sample JOIN label ON label.id = label_id ORDER BY 1").to_series()
    assert splits.to_list() == ["test", "train", "validation"]
    assert shapes.sql("SELECT count(*) FROM table_4_localization WHERE headline AND ll IS NOT NULL").item() == "1"


def test_two_classes_as_dicom_and_tiff_with_parts_of_their_own_and_no_class_without_lesions(
    shapes: Home, tmp_path: Path
) -> None:
    """Names that HTML and LaTeX would take for markup; one mask outside the folder."""
    names = ("R&D <b>50%_a", "ädenom, “q”")
    own = Own(tmp_path)
    for n in range(24):
        box = (20 + 4 * n, 30 + 8 * n, 60 + 4 * n, 60 + 8 * n)
        split = ("train", "train", "validation", "test")[n // 2 % 4]
        own.add(names[n % 2], f"p{n // 2}", kind=("dcm", "tif")[n % 2], box=box, split=split)
    own.rows[0]["mask"] = "../mask.tif"
    done = shapes.study(study(own.finish()).model_copy(update={"name": "two"}))
    assert done.returncode == 0, done.stderr[-3000:]
    splits = shapes.sql(
        "SELECT label, train, validation, test FROM table_1_patches WHERE study = 'two' ORDER BY ordinal"
    )
    assert splits.rows() == [(names[0], "5", "3", "3"), (names[1], "6", "3", "3")]
    reasons = shapes.sql("SELECT reason, lesions FROM exclusion_reasons WHERE study = 'two'").rows()
    assert reasons == [("mask_refused", "1")]
    (report,) = (shapes.path / "reports").glob("two-*.html")
    page = report.read_text()
    assert "<b>50%" not in page and html.escape(names[0]) in page and names[1] in page
    assert page.count('class="whole"') == 8
    latex = (report.with_suffix("") / "tables/table-1.tex").read_text()
    assert r"R\&D <b>50\%\_a & 5 & 3 & 8 & 3 \\" in latex
