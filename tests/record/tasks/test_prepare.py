"""Preparing patches into a real record: in batches, again, after a kill; the study's Table I from the real files."""

import csv
import logging
import os
import shutil
import weakref
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from sqlalchemy import Engine, text

from db import studies
from lesionlens.config.data import BackgroundConfig, DataConfig, PatchConfig, PhantomConfig, SplitConfig
from lesionlens.config.presets import paper
from lesionlens.config.study import StudyConfig
from lesionlens.datasets.registry import read_index
from lesionlens.phantom.dataset import write_phantom
from lesionlens.records import Sample
from tasks import prepare

PHANTOM = PhantomConfig(height=400, train_per_class=3, test_per_class=2, callback_free=4)


@pytest.fixture(scope="module")
def phantom(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("prepare") / "phantom"
    write_phantom(PHANTOM, root)
    return root


def study(root: Path) -> StudyConfig:
    return StudyConfig(
        data=DataConfig(root=root),
        patches=PatchConfig(size=32),
        background=BackgroundConfig(size=60, train=6, test=3),
    )


def numbers(engine: Engine, query: str) -> list[tuple[object, ...]]:
    with engine.connect() as connection:
        return [tuple(row) for row in connection.execute(text(query))]


def test_the_second_time_does_nothing(engine: Engine, phantom: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = prepare.prepare_samples(study(phantom), phantom)
    monkeypatch.setattr(prepare, "build_samples", None)  # whoever cuts again fails
    assert prepare.prepare_samples(study(phantom), phantom) == first
    assert numbers(engine, "SELECT count(*), count(finished_at) FROM sample_set") == [(1, 1)]
    classes = numbers(engine, "SELECT count(DISTINCT label_id) FROM sample JOIN overview USING (image_id)")
    assert classes == [(5,)]


def test_batches_are_committed_while_cutting_and_a_killed_set_is_begun_anew(
    engine: Engine, phantom: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What was stored before the kill is there, but is no sample set yet; the next attempt replaces it."""
    build, seen = prepare.build_samples, []
    monkeypatch.setattr(prepare, "BATCH", 8)

    def killed(*arguments: object) -> Iterator[object]:
        for n, item in enumerate(build(*arguments)):  # type: ignore[arg-type]
            if n == 24:
                seen.extend(numbers(engine, "SELECT (SELECT count(*) FROM sample) + (SELECT count(*) FROM exclusion)"))
                raise KeyboardInterrupt
            yield item

    monkeypatch.setattr(prepare, "build_samples", killed)
    with pytest.raises(KeyboardInterrupt):
        prepare.prepare_samples(study(phantom), phantom)
    (stored,) = seen
    assert 12 <= stored[0] <= 24  # some of the items are sizes and overviews
    assert numbers(engine, "SELECT count(*), count(finished_at) FROM sample_set") == [(1, 0)]
    monkeypatch.setattr(prepare, "build_samples", build)
    prepare.prepare_samples(study(phantom), phantom)
    assert numbers(engine, "SELECT count(*), count(finished_at) FROM sample_set") == [(1, 1)]
    lesions = "SELECT count(*) FROM lesion"
    reasons = "SELECT count(*) FROM exclusion WHERE lesion_id IS NOT NULL"
    assert numbers(engine, f"SELECT ({lesions}) - ({reasons}) - (SELECT count(lesion_id) FROM sample)") == [(0,)]  # noqa: S608


def test_parts_of_the_data_sets_own_that_share_patients_are_told(
    engine: Engine, real_tables: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Of the real case files; nothing is cut."""
    monkeypatch.setattr(prepare, "run_logger", lambda: logging.getLogger("prepare"))
    monkeypatch.setattr(prepare, "_cut", lambda *_, **__: None)
    for rule, words in (("official", "split.rule official keeps it so"), ("sound", "they go wholly to test")):
        config = study(real_tables).model_copy(update={"split": SplitConfig.model_validate({"rule": rule})})
        prepare.prepare_samples(config, real_tables)
        assert f"share 31 patients, with 29 images of the same side and view; {words}" in caplog.text
    ((sample_set,),) = numbers(engine, "SELECT max(id) FROM sample_set")
    with engine.begin() as connection:
        studies.save_study(connection, "s" * 64, "real", {}, "e" * 64, sample_set, {})
    overlap = "SELECT entity, shared, cardinality(examples) FROM official_overlap ORDER BY entity"
    assert numbers(engine, overlap) == [("image", 29, 10), ("patient", 31, 10)]


def test_a_study_without_a_test_part_stops_before_training(engine: Engine, tmp_path: Path) -> None:
    """One patient can't be in two splits; the set is not finished, so mended data are cut anew."""
    rows = ["image,mask,label,patient"]
    for n, label in enumerate(("cyst", "nodule") * 2):
        Image.fromarray(np.full((60, 40), 90, np.uint8)).save(tmp_path / f"{n}.png")
        mask = np.zeros((60, 40), np.uint8)
        mask[20:30, 10:20] = 255
        Image.fromarray(mask).save(tmp_path / f"{n}-mask.png")
        rows.append(f"{n}.png,{n}-mask.png,{label},one")
    (tmp_path / "manifest.csv").write_text("\n".join(rows))
    config = study(tmp_path)
    with pytest.raises(ValueError, match="no sample is in the validation split: 0 of 4 lesions left out"):
        prepare.prepare_samples(config, tmp_path)
    assert numbers(engine, "SELECT count(*), count(finished_at) FROM sample_set") == [(1, 0)]


def test_a_data_set_that_stops_its_study_is_in_the_views(engine: Engine, tmp_path: Path) -> None:
    """With its reasons, by lesions and by images, under the name of its folder."""
    rows = ["image,mask,label,patient"]
    for n in range(12):
        Image.fromarray(np.full((60, 40), 90, np.uint8)).save(tmp_path / f"{n}.png")
        Image.fromarray(np.zeros((60, 40), np.uint8)).save(tmp_path / f"{n}-mask.png")
        rows.append(f"{n}.png,{n}-mask.png,{('cyst', 'nodule')[n % 2]},p{n}")
    (tmp_path / "manifest.csv").write_text("\n".join(rows))
    words = (
        r"no sample is in the train split: 12 of 12 lesions left out: empty_mask 12, first 0\.png \(0-mask\.png marks"
    )
    with pytest.raises(ValueError, match=words):
        prepare.prepare_samples(study(tmp_path), tmp_path)
    found = numbers(engine, "SELECT dataset, study, reason, lesions, images FROM exclusion_reasons ORDER BY reason")
    assert found == [(tmp_path.name, None, "empty_mask", 12, 0), (tmp_path.name, None, "same_pixels", 0, 11)]
    listed = "SELECT count(*), count(lesion_key), count(study_id), min(dataset) FROM exclusions"
    assert numbers(engine, listed) == [(23, 12, 0, tmp_path.name)]


def test_outlines_and_digests_of_pixels_are_kept(engine: Engine, tmp_path: Path) -> None:
    rows = ["image,label,patient,x,y,width,height,split"]
    for n in range(12):
        Image.fromarray(np.full((60, 40), 90 + n, np.uint8)).save(tmp_path / f"{n}.png")
        split = ("train", "validation", "test")[n // 2 % 3]
        rows.append(f"{n}.png,{('cyst', 'nodule')[n % 2]},p{n},10,20,10,15,{split}")
    (tmp_path / "manifest.csv").write_text("\n".join(rows))
    prepare.prepare_samples(study(tmp_path), tmp_path)
    outlines = numbers(engine, "SELECT DISTINCT outline, mask_path FROM lesion")
    assert outlines == [([[[10, 20], [20, 20], [20, 35], [10, 35]]], None)]
    assert numbers(engine, "SELECT count(DISTINCT pixels), min(length(pixels)) FROM image") == [(12, 40)]
    leaks = "SELECT sum(shared) FROM split_check WHERE entity = 'pixels'"
    assert numbers(engine, leaks) == [(0,)]


def test_memory_does_not_grow_with_the_data_set(phantom: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No more than a batch of samples is alive at a time."""
    build, made = prepare.build_samples, list[weakref.ref[object]]()
    most = written = 0
    monkeypatch.setattr(prepare, "BATCH", 8)

    def watched(*arguments: object) -> Iterator[object]:
        for item in build(*arguments):  # type: ignore[arg-type]
            if isinstance(item, Sample):
                made.append(weakref.ref(item.pixels))
            yield item

    class Writer:
        def add(self, connection: object, items: list[object]) -> None:
            nonlocal most, written
            written += sum(isinstance(item, Sample) for item in items)
            most = max(most, sum(pixels() is not None for pixels in made))

        def close(self, *arguments: object) -> None:
            pass

    class NoEngine:
        def begin(self) -> "NoEngine":
            return self

        def __enter__(self) -> None: ...

        def __exit__(self, *arguments: object) -> None: ...

    monkeypatch.setattr(prepare, "build_samples", watched)
    config = study(phantom)
    index = read_index(config.data, phantom)
    prepare._cut(NoEngine(), Writer(), index, phantom, config, (), trains=True)  # type: ignore[arg-type]
    assert 4 <= most <= 8 + 1 < written / 2  # a batch, and the sample that the loop has read before


@pytest.fixture(scope="module")
def real_tables(real: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The four real case files; every picture they name is there, all the same small one, its mask another."""
    root = tmp_path_factory.mktemp("cbis")
    (root / "csv").mkdir()
    tissue = np.random.default_rng(0).integers(60, 200, (64, 40), dtype=np.uint8)
    mask = np.zeros((64, 40), dtype=np.uint8)
    mask[20:30, 10:22] = 255
    Image.fromarray(tissue).save(root / "tissue.png")
    Image.fromarray(mask).save(root / "mask.png")
    lines = ["image_path,SeriesDescription,BitsAllocated,PatientID,Rows,Columns"]
    for table in sorted((real / "csv").glob("*_case_description_*_set.csv")):
        shutil.copy(table, root / "csv")
        with table.open(newline="") as file:
            for row in csv.DictReader(file):
                for column, picture, words, bits in (
                    ("image file path", "tissue", "full mammogram images", 16),
                    ("ROI mask file path", "mask", "ROI mask images", 8),
                ):
                    series = row[column].split("/")[2]
                    path = root / "jpeg" / series / f"{picture}.png"
                    if not path.exists():
                        path.parent.mkdir(parents=True, exist_ok=True)
                        os.link(root / f"{picture}.png", path)
                        lines.append(f"CBIS-DDSM/jpeg/{series}/{picture}.png,{words},{bits},x,64,40")
    (root / "csv/dicom_info.csv").write_text("\n".join(lines) + "\n")
    return root


@pytest.mark.slow
def test_table_1_and_every_row_of_the_real_case_files(engine: Engine, real_tables: Path) -> None:
    """The preset of the study, from the real tables to the record: its Table I, and a reason for every other row."""
    root = real_tables
    base = paper(root)
    config = base.model_copy(
        update={
            "patches": base.patches.model_copy(update={"size": 32}),
            "background": base.background.model_copy(update={"size": 12}),
        }
    )
    sample_set = prepare.prepare_samples(config, root)
    prepare.plan_study(config, sample_set)
    table = numbers(engine, "SELECT code, train_and_validation, test FROM table_1_patches ORDER BY ordinal")
    assert table[1:] == [("BC", 358, 110), ("BM", 554, 183), ("MC", 375, 110), ("MM", 599, 144)]
    assert table[0] == ("B", 644, 310)
    query = "SELECT reason, count(*) FROM exclusion WHERE lesion_id IS NOT NULL GROUP BY reason"
    reasons = dict(numbers(engine, query))
    assert reasons == {"no_target_class": 679, "overwritten": 216, "class_of_first_row": 5, "split_left_out": 235}
    patches = numbers(engine, "SELECT count(*) FROM sample WHERE lesion_id IS NOT NULL")[0][0]
    assert patches + sum(reasons.values()) == 3568  # type: ignore[operator]
