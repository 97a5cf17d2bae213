"""Masks, tables, names of files and COCO files as nobody would write them, and what becomes of them.

Every one ends as `read` (samples), `reason` (nothing but recorded reasons) or `line` (one clear line); whatever else it
does is an error. The tests try a hundred of each kind, benchmarks/fuzz.py two thousand.
"""

import io
import json
import tempfile
from collections.abc import Callable
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from hypothesis import strategies as st
from PIL import Image

from lesionlens.config.data import BackgroundConfig, DataConfig
from lesionlens.config.study import StudyConfig
from lesionlens.datasets.registry import read_index, recognise
from lesionlens.images.image import UnusableImageError
from lesionlens.images.reading import read_image
from lesionlens.records import Exclusion, Lesion, Sample
from lesionlens.samples.cutting import read_marks
from lesionlens.samples.sample_set import build_samples
from lesionlens.samples.splits import SplitCheck

SIZE = (24, 20)
MODES = ("1", "L", "LA", "P", "PA", "RGB", "RGBA", "I;16", "I", "F", "CMYK", "YCbCr")
FORMATS = ("PNG", "JPEG", "TIFF", "BMP", "GIF", "WEBP")
MARKED = ("auto", "nonzero", "zero", "alpha", "0", "1", "255", "65535", "#ff0000")


@contextmanager
def folder() -> Any:
    """A data folder beside a file that nobody may read or change."""
    with tempfile.TemporaryDirectory(prefix="fuzz") as name:
        outside, root = Path(name) / "outside.png", Path(name) / "data"
        root.mkdir()
        Image.fromarray(np.full(SIZE[::-1], 77, np.uint8)).save(outside)
        before = outside.read_bytes()
        yield root
        assert outside.read_bytes() == before and {p.name for p in Path(name).iterdir()} == {"outside.png", "data"}


def line(error: Exception) -> str:
    """That an error is one line that can be printed."""
    words = str(error)
    assert words.strip() and "\n" not in words and "\r" not in words and "\0" not in words, repr(words)
    assert words.encode() and len(words) < 6000
    return "line"


@st.composite
def mask_files(draw: st.DrawFn) -> tuple[bytes, str]:
    """A picture of few values, or any bytes changed in it, and the word for what marks."""
    mode, kind = draw(st.sampled_from(MODES)), draw(st.sampled_from(FORMATS))
    values = draw(st.lists(st.integers(0, 255), min_size=1, max_size=4))
    rng = np.random.default_rng(draw(st.integers(0, 2**32)))
    size = draw(st.sampled_from([SIZE, SIZE[::-1], (48, 40), (12, 10), (1, 1), (24, 19)]))
    areas = rng.integers(0, len(values), (3, 3)).astype(np.uint8)
    plane = np.asarray(Image.fromarray(areas).resize(size, Image.Resampling.NEAREST))
    if draw(st.booleans()):
        plane = np.array(values, np.uint8)[plane]
    image = Image.fromarray(plane, "P" if mode in ("P", "PA") else None)
    if mode in ("P", "PA"):
        image.putpalette(draw(st.binary(min_size=3, max_size=12)).ljust(12, b"\0"))
    image = image.convert(mode) if image.mode != mode else image
    if mode in ("RGBA", "LA") and draw(st.booleans()):
        image.putalpha(Image.fromarray(plane).point(lambda value: 255 * (value > 0)))
    exif = Image.Exif()
    exif[0x112] = draw(st.integers(0, 9))
    stream = io.BytesIO()
    try:
        image.save(stream, kind, **({"exif": exif} if kind in ("PNG", "JPEG", "TIFF", "WEBP") else {}))
    except (OSError, ValueError, KeyError):
        plainly = Image.fromarray(plane)
        plainly.save(stream, "PNG")
    data = bytearray(stream.getvalue())
    for _ in range(draw(st.sampled_from([0, 0, 0, 1, 3]))):
        data[draw(st.integers(0, len(data) - 1))] = draw(st.integers(0, 255))
    return bytes(data[: draw(st.sampled_from([None, None, None, len(data) // 2]))]), draw(st.sampled_from(MARKED))


def try_mask(given: tuple[bytes, str]) -> str:
    """A mask is a plane of marks in its image's shape, or there is a reason."""
    data, marked = given
    with folder() as root:
        (root / "m.png").write_bytes(data)
        Image.fromarray(np.full(SIZE[::-1], 90, np.uint8)).save(root / "i.png")
        image = read_image(root, "i.png")
        study = StudyConfig(data=DataConfig(root=root))
        try:
            lesion = Lesion("l", "i", None, None, "a", "m.png", mask_value=marked)
            mask, threshold, _ = read_marks(root, lesion, image, study.annotation)
        except UnusableImageError as error:
            line(error)
            return "reason"
        found = mask > threshold
        assert found.shape == image.shape and found.mean() <= 0.65  # resizing rounds
        return "read"


WORDS = st.sampled_from(
    [
        "", "NA", "None", "0", "-", "a", "A", "cyst", "Cyst", "nodule", "p1", "p2", "train", "TEST", "validation",
        "dev", "nan", "1", "2.5", "-3", "1e400", "inf", "a\u200b", "ä", "a\u0308", "\ufeff", "\u202e", "x" * 500,
        '"', "'", ";", ",", "\t", " ", "\n", "a\nb", "zero", "nonzero", "#ff0000", "auto", "7",
    ]
)  # fmt: skip
NAMES = st.sampled_from(
    [
        "i0.png", "./i0.png", "i1.png", "I1.PNG", "i2.png", "i3.png", "m0.png", "m1.png", "m2.png", "..", ".", "/",
        "~", "~/i0.png", "../outside.png", "a/../../outside.png", "..\\outside.png", "C:\\i0.png",
        "\\\\host\\i0.png", "link.png", "loop.png", "file://i0.png", "i0.png/", "i0.png/x", "%2e%2e/outside.png",
        "d", "d/i0.png", "d\\i0.png", "x" * 300, "ä.png", "a\u0308.png", "i0.png ", "con", "-rf", "$(id)",
        "i0.png\u200b", "\ud7ff.png", "/etc/hostname", "/dev/zero", "/proc/self/environ",
    ]
)  # fmt: skip
ANY = st.one_of(WORDS, NAMES, st.text(st.characters(codec="utf-8"), max_size=8))
COLUMNS = (
    "image", "mask", "label", "patient", "split", "x", "y", "width", "height", "view", "side", "lesion",
    "mask_value", "pateint", "Image", " mask", "", "splitt", "other",
)  # fmt: skip


def pictures(root: Path) -> None:
    """Images i0 to i3, masks m0 to m2, a folder, a link to outside and one to itself."""
    rng = np.random.default_rng(0)
    (root / "d").mkdir()
    for n, name in enumerate(("i0.png", "i1.png", "i2.png", "i3.png", "d/i0.png", "ä.png")):
        Image.fromarray(rng.integers(60 + n, 200, SIZE[::-1], dtype=np.uint8)).save(root / name)
    for n in range(3):
        mask = np.zeros(SIZE[::-1], np.uint8)
        mask[4 + n : 12, 5 : 12 + n] = 255
        Image.fromarray(mask).save(root / f"m{n}.png")
    (root / "link.png").symlink_to(root.parent / "outside.png")
    (root / "loop.png").symlink_to(root / "loop.png")


@st.composite
def tables(draw: st.DrawFn) -> bytes:
    """A manifest that is right, written in one of many ways, to some of which something was done."""
    names = ["image", "mask", "label", "patient"]
    rows = [[f"i{n}.png", f"m{n % 3}.png", ("cyst", "nodule")[n % 2], f"p{n}"] for n in range(4)]
    if draw(st.booleans()):  # boxes
        names[1:2] = ["x", "y", "width", "height"]
        for row in rows:
            row[1:2] = draw(st.sampled_from([["3", "3", "6", "6"], ["2.5", "0", "9", "4"], ["3", " 3", "6.0", "+6"]]))
    for _ in range(draw(st.sampled_from([0, 0, 0, 0, 1, 1, 2, 4]))):
        spoil_table(draw, names, rows)
    between = draw(st.sampled_from([",", ",", ";", "\t", ", ", "|"]))
    quoted = draw(st.booleans())
    cells = [[f'"{v.replace(chr(34), chr(34) * 2)}"' if quoted else v for v in row] for row in [names, *rows]]
    start = draw(st.sampled_from(["", "", "\ufeff", f"sep={between[0]}\n"]))
    text = start + draw(st.sampled_from(["\n", "\r\n", "\r", "\n\n"])).join(between.join(row) for row in cells)
    data = text.encode(draw(st.sampled_from(["utf-8"] * 5 + ["utf-16", "latin-1", "utf-16-le"])), "replace")
    if not draw(st.integers(0, 9)):
        data = data[: draw(st.integers(0, len(data)))] + draw(st.binary(max_size=6))
    return data


def spoil_table(draw: st.DrawFn, names: list[str], rows: list[list[str]]) -> None:
    """One cell of another world, a column more, less or named otherwise, a row twice or short of a field."""
    row, column = draw(st.sampled_from(rows)), draw(st.integers(0, len(names) - 1))
    kind = draw(st.sampled_from(["cell", "cell", "cell", "add", "add", "drop", "rename", "twice", "short"]))
    if kind == "cell" and column < len(row):
        row[column] = draw(st.one_of(NAMES if names[column] in ("image", "mask") else WORDS, ANY))
    elif kind == "add":
        names.append(draw(st.sampled_from(COLUMNS)))
        for each in rows:
            each.append(draw(st.sampled_from(["", "", "nonzero", "1", "train", "test"])))
    elif kind == "drop" and len(names) > 1:
        for each in (names, *rows):
            del each[column : column + 1]
    elif kind == "rename":
        names[column] = draw(st.sampled_from([names[column].upper(), f" {names[column]} ", *COLUMNS]))
    elif kind == "twice":
        rows.append([*row])
    elif kind == "short":
        del row[-1:]


@st.composite
def named_files(draw: st.DrawFn) -> bytes:
    """A manifest that is right but for the names of its files."""
    rows = [(f"i{n}.png", f"m{n % 3}.png", ("cyst", "nodule")[n % 2], f"p{n}") for n in range(4)]
    name = st.one_of(NAMES, st.text(st.characters(codec="utf-8", exclude_characters='"'), min_size=1, max_size=12))
    for n in draw(st.lists(st.integers(0, 3), min_size=1, max_size=4, unique=True)):
        image, mask = draw(st.tuples(name, name))
        keep = draw(st.sampled_from(["image", "mask", "neither"]))
        rows[n] = (rows[n][0] if keep == "image" else image, rows[n][1] if keep == "mask" else mask, *rows[n][2:])
    return ("image,mask,label,patient\n" + "\n".join(",".join(f'"{v}"' for v in row) for row in rows)).encode()


JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-3, 2**40) | st.floats() | ANY,
    lambda inner: st.lists(inner, max_size=6) | st.dictionaries(st.just("counts"), inner, max_size=1),
    max_leaves=8,
)  # fmt: skip
NUMBERS = st.floats(-1, 21) | st.integers(0, 20)
PLAUSIBLE: dict[str, tuple[str, st.SearchStrategy[Any]]] = {
    "bbox": ("annotations", st.tuples(NUMBERS, NUMBERS, NUMBERS, NUMBERS) | st.just(["3", 3, 6, 6]) | st.none()),
    "segmentation": (
        "annotations",
        st.lists(st.lists(NUMBERS, min_size=6, max_size=10), max_size=2) | st.just({"counts": [1, 2], "size": SIZE}),
    ),
    "iscrowd": ("annotations", st.integers(0, 1)),
    "category_id": ("annotations", st.integers(1, 2)),
    "width": ("images", st.sampled_from([SIZE[0], 2 * SIZE[0], SIZE[1], None, 0])),
    "patient": ("images", st.sampled_from(["p1", "p2", "P1", 1, "1", "01", "", None])),
    "patient_id": ("images", st.sampled_from(["p1", 7, None])),
    "file_name": ("images", NAMES),
    "name": ("categories", WORDS),
    "supercategory": ("categories", WORDS),
}


@st.composite
def coco_files(draw: st.DrawFn) -> bytes:
    """A COCO file, some values of which are something else."""
    coco: dict[str, Any] = {
        "categories": [{"id": 1, "name": "cyst"}, {"id": 2, "name": "nodule"}],
        "images": [{"id": n, "file_name": f"i{n}.png", "width": SIZE[0], "height": SIZE[1]} for n in range(4)],
        "annotations": [
            {"id": n, "image_id": n, "category_id": 1 + n % 2, "bbox": [3, 3, 6, 6], "segmentation": []}
            for n in range(4)
        ],
    }
    for _ in range(draw(st.sampled_from([0, 1, 1, 2, 3]))):
        part = draw(st.sampled_from(sorted(coco)))
        entry = draw(st.sampled_from(coco[part]))
        likely = draw(st.sampled_from(sorted(PLAUSIBLE)))
        if draw(st.integers(0, 3)):
            for each in coco[PLAUSIBLE[likely][0]] if draw(st.booleans()) else [coco[PLAUSIBLE[likely][0]][-1]]:
                each[likely] = draw(PLAUSIBLE[likely][1])
        else:
            entry[draw(st.sampled_from(sorted(entry)))] = draw(st.one_of(JSON, NAMES))
    data = json.dumps(coco).encode()
    return data if draw(st.integers(0, 9)) else data[: draw(st.integers(0, len(data)))]


def try_folder(name: str) -> Callable[[bytes], str]:
    """What becomes of a data set whose table is the given bytes."""

    def try_table(data: bytes) -> str:
        with folder() as root:
            pictures(root)
            (root / name).write_bytes(data)
            background = BackgroundConfig(size=8, train=2, test=2, per_image=2)
            study = StudyConfig(data=DataConfig(root=root), background=background, patches={"size": 32})
            try:
                recognise(root)
                index = read_index(study.data, root)
                check, samples = SplitCheck(index), 0
                for item in build_samples(index, root, study):
                    check.add(item)
                    samples += isinstance(item, Sample)
                    if isinstance(item, Exclusion):
                        assert "\0" not in item.detail and item.detail.encode() is not None
                        assert item.image_key in {image.key for image in index.images}
            except ValueError as error:
                return line(error)
            try:
                check.require_samples()
            except ValueError as error:
                line(error)
            return "read" if samples else "reason"

    return try_table


KINDS: dict[str, tuple[st.SearchStrategy[Any], Callable[[Any], str]]] = {
    "masks": (mask_files(), try_mask),
    "tables": (tables(), try_folder("manifest.csv")),
    "names": (named_files(), try_folder("manifest.csv")),
    "coco": (coco_files(), try_folder("_annotations.coco.json")),
}
