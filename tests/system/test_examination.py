"""Models that were trained elsewhere: one that reads the lesion, one that reads a corner, files, what is refused."""

from pathlib import Path

import numpy as np
import polars as pl
import pytest
import torch
from PIL import Image
from sqlalchemy import text
from torch import Tensor, nn

import tasks.examination.files
from db.engine import make_engine
from db.postgres import server
from lesionlens.config.data import PatchConfig
from lesionlens.config.examination import InputSpec
from lesionlens.settings import home
from tasks.db_task import samples_of
from tasks.examination.files import examine_files, template
from tasks.examination.network import examine
from tasks.examination.record import Examination

SPEC = InputSpec(size=64, normalise="none", channels=1)
CLASSES = ("nodule", "normal")
DARK, BRIGHT = 0.30, 0.42  # grey of the tissue around, in images without and with a lesion


class Reader(nn.Module):
    """Mean brightness above a level in 15 x 15 grid cells, pooled: of all cells, or of the corner's alone."""

    def __init__(self, level: float, corner: bool) -> None:
        super().__init__()
        self.cells = nn.Conv2d(1, 1, 8, stride=4)
        self.head = nn.Linear(1, 2)
        seen = torch.ones(1, 1, 15, 15)
        if corner:
            seen[:, :, 4:] = seen[:, :, :, 4:] = 0
        self.register_buffer("seen", seen)
        self.block = Block(self)
        with torch.no_grad():
            self.cells.weight.fill_(1 / 64)
            self.cells.bias.fill_(-level)
            self.head.weight.copy_(torch.tensor([[400.0], [-400.0]]) * 225 / seen.sum())
            self.head.bias.copy_(torch.tensor([-3.0, 3.0]))

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.block(x).mean(dim=(2, 3)))


class Block(nn.Module):
    def __init__(self, reader: Reader) -> None:
        super().__init__()
        self.cells, self.seen = reader.cells, reader.seen

    def forward(self, x: Tensor) -> Tensor:
        return torch.relu(self.cells(x)) * self.seen


def write_data(root: Path, splits: bool, tells: bool) -> Path:
    """Images with a bright square and images without; tells: the tissue around is brighter where there is one."""
    generator = np.random.default_rng(0)
    (root / "images").mkdir(parents=True)
    rows = ["image,label,patient,x,y,width,height" + (",split" if splits else "")]
    for n in range(120):
        lesion, split = n % 2, ("train", "validation", "test", "test", "test")[n // 2 % 5]
        pixels, box = generator.normal(255 * (BRIGHT if lesion and tells else DARK), 8, (120, 120)), ",,,"
        if lesion:
            x, y = generator.integers(10, 90, 2)
            pixels[y : y + 20, x : x + 20] += 100
            box = f"{x},{y},20,20"
        Image.fromarray(pixels.clip(0, 255).astype(np.uint8)).save(root / f"images/{n:03d}.png")
        row = f"images/{n:03d}.png,{CLASSES[1 - lesion]},p{n},{box}"
        rows.append(row + (f",{split}" if splits else ""))
    (root / "manifest.csv").write_text("\n".join(rows) + "\n")
    return root


def verdict(found: Examination) -> tuple[str, list[str]]:
    row = found.answers.filter(pl.col("group_name").is_null(), question="detection").row(0, named=True)
    return row["verdict"], row["reasons"]


@pytest.mark.slow
def test_a_model_that_reads_the_lesion_gets_a_yes_and_stays_as_it_is(tmp_path: Path) -> None:
    data, model = write_data(tmp_path / "own", splits=True, tells=False), Reader(level=0.5, corner=False)
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    found = examine(model, data=data, classes=CLASSES, input=SPEC, map_block="block", to=tmp_path / "report")
    assert verdict(found)[0] == "yes", str(found)
    assert model.training and all(p.grad is None and p.requires_grad for p in model.parameters())
    assert all(torch.equal(before[name], tensor) for name, tensor in model.state_dict().items())
    assert found.report.parent == tmp_path / "report" and "as given" in found.report.read_text()
    assert (found.report.with_suffix("") / "tables").is_dir()


@pytest.mark.slow
def test_a_model_that_reads_a_corner_gets_a_no_and_is_kept_in_the_record(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LESIONLENS_HOME", str(tmp_path / "home"))
    monkeypatch.delenv("LESIONLENS_DATABASE_URL", raising=False)
    samples_of.cache_clear()
    data, model = write_data(tmp_path / "own", splits=True, tells=True), Reader(level=0.36, corner=True)
    try:
        found = examine(model, data=data, classes=CLASSES, input=SPEC, map_block="block", record=True)
        assert verdict(found)[0] == "no", str(found)
        assert found.report.parent == home().reports
        with make_engine().connect() as connection:
            kept = connection.execute(text("SELECT study, kind, config ->> 'examined' FROM studies")).one()
            runs = connection.execute(text("SELECT backbone, strategy, batch_size, status FROM runs")).all()
        assert kept[:2] == ("own model", "examined") and '"map_block": "block"' in kept[2]
        assert runs == [("own model", "examined", None, "finished")]
    finally:
        make_engine().dispose()
        server.stop(home().record)
        samples_of.cache_clear()


@pytest.mark.slow
def test_good_maps_and_good_predictions_alone_are_no_yes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without splits all is test; maps that are the annotation itself, and predictions that are right."""
    data, patches = write_data(tmp_path / "own", splits=False, tells=False), PatchConfig(size=64, jitter=1.0)
    wanted = template(data, patches)
    assert set(wanted["split"]) == {"test"} and wanted["sample"].n_unique() == wanted.height
    boxes = pl.read_csv(data / "manifest.csv").rows_by_key("image", named=True, unique=True)
    for row in wanted.filter(label="nodule").rows(named=True):
        box, grid = boxes[row["image"]], np.zeros((32, 32), dtype=np.float32)
        x, y = ((box[axis] - row[axis]) * 32 // row["width"] for axis in ("x", "y"))
        side = 20 * 32 // row["width"]
        grid[y : y + side, x : x + side] = 1
        place = tmp_path / "maps" / f"{row['sample']}.npy"
        place.parent.mkdir(parents=True, exist_ok=True)
        np.save(place, grid)
    is_nodule = pl.col("label") == "nodule"
    told = wanted.select("sample", nodule=pl.when(is_nodule).then(0.9).otherwise(0.2))
    told.with_columns(normal=1 - pl.col("nodule")).write_parquet(tmp_path / "predictions.parquet")
    files = tmp_path / "predictions.parquet", tmp_path / "maps"
    found = examine_files(*files, data=data, patches=patches, to=tmp_path / "report")
    row = found.frames["table_4_localization"].filter("headline").row(0, named=True)
    assert row["policy"] == "otsu" and row["ll"] > 0.7
    assert verdict(found)[0] == "not shown" and {"no_baseline", "no_audit", "no_occlusion"} <= set(verdict(found)[1])
    assert found.frames["occlusion_test"].is_empty() and found.frames["weight_randomisation"].is_empty()
    assert "Thresholds were not tuned" in found.report.read_text()

    def not_cut(*_: object) -> None:
        raise AssertionError("samples were cut before the file was read")

    with monkeypatch.context() as patched, pytest.raises(ValueError, match="no probabilities"):
        patched.setattr(tasks.examination.files, "prepared", not_cut)
        told.with_columns(normal=pl.col("nodule")).write_parquet(tmp_path / "logits.parquet")
        examine_files(tmp_path / "logits.parquet", files[1], data=data, patches=patches, to=tmp_path / "report")
    with pytest.raises(ValueError, match="lacks 1 sample of"):
        told.with_columns(normal=1 - pl.col("nodule"))[1:].write_parquet(files[0])
        examine_files(*files, data=data, patches=patches, to=tmp_path / "report")
