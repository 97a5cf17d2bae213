"""The phantom data set as files: same bytes, whole or absent, nothing done twice."""

import csv
import hashlib
import os
import threading
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from lesionlens.config.data import PhantomConfig
from lesionlens.phantom.dataset import draw_case, write_phantom
from lesionlens.phantom.files import files_of
from lesionlens.phantom.plan import Case, plan

TINY = PhantomConfig(height=200, train_per_class=2, test_per_class=1, callback_free=3, seed=7)

pytestmark = pytest.mark.usefixtures("one_process")


def content(root: Path) -> dict[str, str]:
    """Digest of every file by relative path."""
    files = [path for path in root.rglob("*") if path.is_file()]
    return {str(path.relative_to(root)): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Drawn in two processes."""
    root = tmp_path_factory.mktemp("phantom") / "tiny"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, "sched_getaffinity", lambda pid: {0, 1})
        write_phantom(TINY, root)
    return root


def test_same_seed_same_bytes(tiny: Path, tmp_path: Path) -> None:
    write_phantom(TINY, tmp_path / "again")  # in one process
    assert content(tmp_path / "again") == content(tiny)


def test_other_seed_other_pictures_and_series(tiny: Path, tmp_path: Path) -> None:
    write_phantom(TINY.model_copy(update={"seed": 8}), tmp_path / "other")
    ours, theirs = content(tiny), content(tmp_path / "other")
    assert not {p for p in ours if p.endswith(".jpg")} & set(theirs)
    assert not {d for p, d in ours.items() if p.endswith(".csv")} & set(theirs.values())


def test_files_are_those_of_the_plan_and_no_others(tiny: Path) -> None:
    planned = {p.path for case in plan(TINY) for p in files_of(case, TINY.seed)}
    tables = {f"csv/{k}_case_description_{p}_set.csv" for k in ("mass", "calc") for p in ("train", "test")}
    assert set(content(tiny)) == planned | tables | {"csv/dicom_info.csv", "phantom.json"}
    assert [p.name for p in tiny.parent.iterdir() if p.is_dir()] == ["tiny"]


def test_every_row_leads_to_a_file_of_its_size(tiny: Path) -> None:
    with (tiny / "csv/dicom_info.csv").open(newline="") as file:
        info = list(csv.DictReader(file))
    for row in info:
        with Image.open(tiny / row["image_path"].removeprefix("CBIS-DDSM/")) as image:
            assert (image.format, image.mode) == ("JPEG", "L")
            assert image.size == (int(row["Columns"]), int(row["Rows"]))
    series = {row["SeriesInstanceUID"] for row in info}
    for table in tiny.glob("csv/*_case_*"):
        with table.open(newline="") as file:
            for row in csv.DictReader(file):
                for column in ("image file path", "cropped image file path", "ROI mask file path"):
                    assert row[column].split("/")[2] in series


def test_masks_are_as_large_as_the_mammogram_and_nearly_two_valued(tiny: Path) -> None:
    between = 0
    for case in plan(TINY):
        full, outlines = draw_case(TINY, case)
        masks = [p for p in files_of(case, TINY.seed) if p.role == "mask"]
        for picture, outline in zip(masks, outlines, strict=True):
            with Image.open(tiny / picture.path) as image:
                pixels = np.asarray(image)
            assert pixels.shape == full.shape == (TINY.height, TINY.width)
            between += int(((pixels > 0) & (pixels < 255)).sum())
            assert ((pixels > 127) == outline).mean() > 0.999
    assert between > 0, "JPEG masks of the real data set are not strictly two-valued; neither should these be"


def test_second_call_draws_nothing(tiny: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("lesionlens.phantom.dataset.draw_case", lambda *_: pytest.fail("drawn again"))
    before = {path: path.stat().st_mtime_ns for path in tiny.rglob("*")}
    write_phantom(TINY, tiny)
    assert {path: path.stat().st_mtime_ns for path in tiny.rglob("*")} == before


def test_another_configuration_is_refused(tiny: Path) -> None:
    with pytest.raises(FileExistsError, match="name another folder"):
        write_phantom(TINY.model_copy(update={"seed": 9}), tiny)


def test_foreign_folder_is_refused_and_kept(tmp_path: Path) -> None:
    (tmp_path / "photos").mkdir()
    (tmp_path / "photos/cat.jpg").write_bytes(b"cat")
    with pytest.raises(FileExistsError, match="photos"):
        write_phantom(TINY, tmp_path / "photos")
    assert (tmp_path / "photos/cat.jpg").read_bytes() == b"cat"


def test_progress_counts_to_the_last_mammogram(tmp_path: Path) -> None:
    seen: list[tuple[int, int]] = []
    write_phantom(TINY, tmp_path / "set", lambda done, total: seen.append((done, total)))
    counts = [done for done, _ in seen]
    assert counts == sorted(counts)
    assert seen[0] == (0, len(plan(TINY)))
    assert seen[-1] == (len(plan(TINY)), len(plan(TINY)))


def test_an_interrupted_write_goes_on_where_it_was(tiny: Path, tmp_path: Path) -> None:
    class StopError(Exception):
        pass

    def stop(done: int, total: int) -> None:
        if done >= total // 2:
            raise StopError

    root = tmp_path / "tiny"
    with pytest.raises(StopError):
        write_phantom(TINY, root, stop)
    assert not root.exists()
    seen: list[int] = []
    write_phantom(TINY, root, lambda done, total: seen.append(done))
    assert seen[0] >= len(plan(TINY)) // 2
    assert content(root) == content(tiny)


def test_a_write_killed_before_its_last_step_only_takes_it(
    tiny: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def killed(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patched, pytest.raises(KeyboardInterrupt):
        patched.setattr(Path, "rename", killed)
        write_phantom(TINY, tmp_path / "tiny")
    assert not (tmp_path / "tiny").exists()
    monkeypatch.setattr("lesionlens.phantom.dataset.draw_case", lambda *_: pytest.fail("drawn again"))
    write_phantom(TINY, tmp_path / "tiny")
    assert content(tmp_path / "tiny") == content(tiny)


def test_an_abandoned_draft_is_removed(tiny: Path, tmp_path: Path) -> None:
    abandoned = tmp_path / ".tiny.0123456789abcdef"
    neighbour = tmp_path / ".tiny.more.0123456789abcdef"
    for draft in (abandoned, neighbour):
        (draft / "cases").mkdir(parents=True)
    write_phantom(TINY, tmp_path / "tiny")
    assert not abandoned.exists()
    assert neighbour.exists()


def test_a_write_killed_within_a_file_is_gone_on_with(
    tiny: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    written: list[Path] = []
    replace = Path.replace

    def killed(self: Path, target: Path) -> Path:
        if target.parent.name == "cases":
            written.append(target)
        if len(written) == 3:
            raise KeyboardInterrupt
        return replace(self, target)

    with monkeypatch.context() as patched, pytest.raises(KeyboardInterrupt):
        patched.setattr(Path, "replace", killed)
        write_phantom(TINY, tmp_path / "tiny")
    assert not (tmp_path / "tiny").exists() and list(tmp_path.rglob("*.partial"))
    seen: list[int] = []
    write_phantom(TINY, tmp_path / "tiny", lambda done, total: seen.append(done))
    assert seen[0] == 2
    assert content(tmp_path / "tiny") == content(tiny)


def test_two_writers_at_once_draw_every_case_once(tiny: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    drawn: list[str] = []

    def counted(config: PhantomConfig, case: Case) -> object:
        drawn.append(case.name)
        return draw_case(config, case)

    monkeypatch.setattr("lesionlens.phantom.dataset.draw_case", counted)
    writers = [threading.Thread(target=write_phantom, args=(TINY, tmp_path / "tiny")) for _ in range(2)]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join()
    assert sorted(drawn) == sorted(case.name for case in plan(TINY))
    assert content(tmp_path / "tiny") == content(tiny)
