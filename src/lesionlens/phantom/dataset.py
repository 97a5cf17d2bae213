"""A synthetic data set in CBIS-DDSM's Kaggle layout: `jpeg/<SeriesInstanceUID>/…` and five files in `csv/`.

What is in it: `phantom_plan`. How it is drawn: `phantom_anatomy`, `phantom_lesions`, `phantom_calcifications`,
`phantom_marker`, `phantom_film`. Its tables: `phantom_files`. Here they meet, and the files are written so that a
killed write goes on.
"""

import fcntl
import glob
import json
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from lesionlens.config import PhantomConfig
from lesionlens.identity import digest
from lesionlens.phantom.anatomy import develop, draw_breast
from lesionlens.phantom.files import case_file, info_file, info_row, pictures
from lesionlens.phantom.lesions import Place, choose_place, draw_lesion, draw_marker, marker_place, mask_box
from lesionlens.phantom.plan import Case, Kind, OfficialSplit, plan
from lesionlens.processes import Processes

EDITION = 1  # raise it whenever the same configuration would draw other bytes
JPEG_QUALITY = 75  # the quantisation tables of the real files
STAMP = "phantom.json"
CROP_MARGIN = 0.12

Pixels = NDArray[np.uint8]


def write_phantom(config: PhantomConfig, root: Path, progress: Callable[[int, int], None] | None = None) -> None:
    """Write the data set to `root`; do nothing where it already is.

    Same configuration, same bytes. Everything is drawn into a hidden folder beside `root`, which is renamed last: a
    `root` that exists is whole. After a kill the next call keeps the cases that were finished. Memory is bounded by
    the size of one mammogram per core. `progress` receives (mammograms done, all mammograms).

    Raises FileExistsError when `root` holds anything else.
    """
    stamp = {"edition": EDITION, "config": config.model_dump(mode="json")}
    root.parent.mkdir(parents=True, exist_ok=True)
    with _alone(root):
        if _finished(root, stamp):
            return
        draft = root.parent / f".{root.name}.{digest(stamp)[:16]}"
        for abandoned in set(root.parent.glob(f".{glob.escape(root.name)}.{'[0-9a-f]' * 16}")) - {draft}:
            shutil.rmtree(abandoned)
        if not (draft / STAMP).exists():
            (draft / "cases").mkdir(parents=True, exist_ok=True)
            cases = plan(config)
            _draw_missing(config, cases, draft, progress)
            _write_tables(config, cases, draft)
            _write(draft / STAMP, json.dumps(stamp, indent=2, sort_keys=True).encode())
        shutil.rmtree(draft / "cases", ignore_errors=True)
        draft.rename(root)


def _write_tables(config: PhantomConfig, cases: tuple[Case, ...], draft: Path) -> None:
    (draft / "csv").mkdir(exist_ok=True)
    rows = [row for case in cases for row in json.loads(_note(draft, case).read_bytes())]
    _write(draft / "csv/dicom_info.csv", info_file(rows))
    kinds: tuple[Kind, ...] = ("mass", "calc")
    splits: tuple[OfficialSplit, ...] = ("train", "test")
    for kind in kinds:
        for split in splits:
            name = f"{kind}_case_description_{split}_set.csv"
            _write(draft / "csv" / name, case_file(cases, kind, split, config.seed))


def _finished(root: Path, stamp: dict[str, object]) -> bool:
    """Whether `root` holds this data set. FileExistsError when it holds anything else; an empty folder is free."""
    if not root.exists() or (root.is_dir() and not any(root.iterdir())):
        return False
    try:
        if json.loads((root / STAMP).read_bytes()) == stamp:
            return True
    except (OSError, ValueError):
        pass
    raise FileExistsError(f"{root} holds something else than this phantom: name another folder, or delete it")


@contextmanager
def _alone(root: Path) -> Iterator[None]:
    """Hold the data set's lock; it goes with the process, however that ends."""
    with (root.parent / f".{root.name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _draw_missing(
    config: PhantomConfig, cases: tuple[Case, ...], draft: Path, progress: Callable[[int, int], None] | None
) -> None:
    """Draw the cases without a note, in as many processes as this one may use cores."""
    missing = [case for case in cases if not _note(draft, case).exists()]
    done = len(cases) - len(missing)
    report = progress or (lambda done, total: None)
    report(done, len(cases))
    with Processes(0) as processes:
        for _ in processes.map(partial(_write_case, config, draft), missing):
            done += 1
            report(done, len(cases))


def _write_case(config: PhantomConfig, draft: Path, case: Case) -> None:
    """Draw one mammogram with its crops and masks, then the note that says it is done: its rows of `dicom_info.csv`."""
    full, masks = draw_case(config, case)
    images = [full]
    for mask in masks:
        images += [_crop(full, mask), mask.astype(np.uint8) * np.uint8(255)]
    rows = []
    for picture, pixels in zip(pictures(case, config.seed), images, strict=True):
        path = draft / picture.path
        path.parent.mkdir(parents=True, exist_ok=True)
        _save_jpeg(path, pixels)
        height, width = pixels.shape
        rows.append(info_row(case, picture, width, height, int(pixels.min()), config.seed))
    _write(_note(draft, case), json.dumps(rows).encode())


def draw_case(config: PhantomConfig, case: Case) -> tuple[Pixels, list[NDArray[np.bool_]]]:
    """The mammogram, uint8 [height, width], and one outline per finding, bool of the same shape."""
    person = int(case.patient.removeprefix("P_"))
    views = [config.seed, 2, person, int(case.side == "LEFT"), int(case.view == "CC")]
    breast = draw_breast(config.height, config.width, case.view, case.density, np.random.default_rng(views))
    places: list[Place] = []
    masks = []
    for finding in case.findings:
        rng = np.random.default_rng([config.seed, 3, case.number, finding.abnormality])
        places.append(choose_place(breast, finding.size, tuple(places), rng))
        masks.append(draw_lesion(breast, places[-1], finding, case.kind, case.pathology, rng))
    # The marker has a generator of its own, so that nothing else changes with it.
    rng = np.random.default_rng([config.seed, 4, case.number])
    for mask in masks:
        box = mask_box(mask)
        chance, centre = rng.random(), marker_place(box, config.height, config.width, rng)
        if case.pathology == "MALIGNANT" and chance < config.confounder:
            draw_marker(breast.pixels, box, centre)
    full = develop(breast.pixels, case, np.random.default_rng([config.seed, 5, case.number]))
    if case.side == "RIGHT":
        full, masks = full[:, ::-1], [mask[:, ::-1] for mask in masks]
    return full, masks


def _crop(full: Pixels, mask: NDArray[np.bool_]) -> Pixels:
    """The mask's box with a margin, out of the mammogram."""
    box = mask_box(mask)
    dx, dy = round(CROP_MARGIN * box.width), round(CROP_MARGIN * box.height)
    return full[max(box.y0 - dy, 0) : box.y1 + dy, max(box.x0 - dx, 0) : box.x1 + dx]


def _save_jpeg(path: Path, pixels: Pixels) -> None:
    unfinished = path.with_suffix(".partial")
    Image.fromarray(np.ascontiguousarray(pixels)).save(unfinished, "JPEG", quality=JPEG_QUALITY)
    unfinished.replace(path)


def _write(path: Path, data: bytes) -> None:
    unfinished = path.with_name(path.name + ".partial")
    unfinished.write_bytes(data)
    unfinished.replace(path)


def _note(draft: Path, case: Case) -> Path:
    return draft / "cases" / f"{case.number:06d}.json"
