"""A synthetic data set in CBIS-DDSM's Kaggle layout: `jpeg/<SeriesInstanceUID>/…` and five files in `csv/`."""

import glob
import json
import shutil
from collections.abc import Callable
from functools import partial
from io import BytesIO
from pathlib import Path

import numpy as np
from filelock import FileLock
from numpy.typing import NDArray
from PIL import Image

from lesionlens.config.data import PhantomConfig
from lesionlens.datasets.case_files import CASE_FILES
from lesionlens.datasets.registry import PHANTOM
from lesionlens.identity import digest
from lesionlens.images.image import bounding_box
from lesionlens.phantom.anatomy import develop, draw_breast
from lesionlens.phantom.files import case_file, files_of, info_file, info_row
from lesionlens.phantom.lesions import Place, choose_place, draw_lesion, draw_marker, marker_place
from lesionlens.phantom.plan import Case, plan
from lesionlens.processes import Processes
from lesionlens.records import Box

EDITION = 1  # raise it whenever the same configuration would draw other bytes
JPEG_QUALITY = 75  # the quantisation tables of the real files
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
    with FileLock(root.parent / f".{root.name}.lock"):
        if _is_written(root, stamp):
            return
        draft = root.parent / f".{root.name}.{digest(stamp)[:16]}"
        for abandoned in set(root.parent.glob(f".{glob.escape(root.name)}.{'[0-9a-f]' * 16}")) - {draft}:
            shutil.rmtree(abandoned)
        if not (draft / PHANTOM).exists():
            _write_cases(config, draft, progress or (lambda done, total: None))
            _write(draft / PHANTOM, json.dumps(stamp, indent=2, sort_keys=True).encode())
        shutil.rmtree(draft / "cases", ignore_errors=True)
        draft.rename(root)


def _is_written(root: Path, stamp: dict[str, object]) -> bool:
    """Whether `root` holds this data set. FileExistsError when it holds anything else; an empty folder is free."""
    if not root.exists() or (root.is_dir() and not any(root.iterdir())):
        return False
    try:
        if json.loads((root / PHANTOM).read_bytes()) == stamp:
            return True
    except (OSError, ValueError):
        pass
    raise FileExistsError(f"{root} holds something else than this phantom: name another folder, or delete it")


def _write_cases(config: PhantomConfig, draft: Path, progress: Callable[[int, int], None]) -> None:
    """Draw what is missing, in as many processes as this one may use cores, then write the tables."""
    cases = plan(config)
    missing = [case for case in cases if not _note(draft, case).exists()]
    done = len(cases) - len(missing)
    progress(done, len(cases))
    with Processes(0) as processes:
        for n, _ in enumerate(processes.map(partial(_write_case, config, draft), missing), done + 1):
            progress(n, len(cases))
    rows = [row for case in cases for row in json.loads(_note(draft, case).read_bytes())]
    _write(draft / "csv/dicom_info.csv", info_file(rows))
    for (split, kind), name in CASE_FILES.items():
        _write(draft / "csv" / name, case_file(cases, kind, split, config.seed))


def _write_case(config: PhantomConfig, draft: Path, case: Case) -> None:
    """Draw one mammogram with its crops and masks, then the note that says it is done: its rows of `dicom_info.csv`."""
    full, masks = draw_case(config, case)
    images = [full]
    for mask in masks:
        images += [_crop(full, mask), mask.astype(np.uint8) * np.uint8(255)]
    rows = []
    for file, pixels in zip(files_of(case, config.seed), images, strict=True):
        jpeg = BytesIO()
        Image.fromarray(np.ascontiguousarray(pixels)).save(jpeg, "JPEG", quality=JPEG_QUALITY)
        _write(draft / file.path, jpeg.getvalue())
        height, width = pixels.shape
        rows.append(info_row(case, file, width, height, int(pixels.min()), config.seed))
    _write(_note(draft, case), json.dumps(rows).encode())


def draw_case(config: PhantomConfig, case: Case) -> tuple[Pixels, list[NDArray[np.bool_]]]:
    """The mammogram, uint8 [height, width], and one annotation per finding, bool of the same shape."""
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
        draw, centre = rng.random(), marker_place(_box(mask), config.height, config.width, rng)
        if case.pathology == "MALIGNANT" and draw < config.confounder:
            draw_marker(breast.pixels, _box(mask), centre)
    full = develop(breast.pixels, case, np.random.default_rng([config.seed, 5, case.number]))
    if case.side == "RIGHT":
        full, masks = full[:, ::-1], [mask[:, ::-1] for mask in masks]
    return full, masks


def _box(mask: NDArray[np.bool_]) -> Box:
    box = bounding_box(mask)
    assert box is not None  # a lesion is drawn inside the breast
    return box


def _crop(full: Pixels, mask: NDArray[np.bool_]) -> Pixels:
    """The mask's box with a margin, out of the mammogram."""
    box = _box(mask)
    dx, dy = round(CROP_MARGIN * box.width), round(CROP_MARGIN * box.height)
    return full[max(box.y0 - dy, 0) : box.y1 + dy, max(box.x0 - dx, 0) : box.x1 + dx]


def _write(path: Path, data: bytes) -> None:
    """The whole file or none."""
    path.parent.mkdir(parents=True, exist_ok=True)
    unfinished = path.with_name(path.name + ".partial")
    unfinished.write_bytes(data)
    unfinished.replace(path)


def _note(draft: Path, case: Case) -> Path:
    return draft / "cases" / f"{case.number:06d}.json"
