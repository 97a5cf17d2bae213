"""Own images as people have them: masks of every kind, classes without lesions, names, the same image twice."""

import unicodedata
from collections import Counter
from itertools import combinations
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image
from scipy import ndimage

from lesionlens.config.data import AnnotationConfig, DataConfig
from lesionlens.datasets.registry import read_index, recognise
from lesionlens.records import SPLITS, Box
from tests.unit.files import Own, ellipse

pytestmark = pytest.mark.usefixtures("one_process")

BLACK = (0, 0, 0)
BOX = (60, 80, 100, 110)
LESION = ellipse(BOX, 200, 300) > 0


def filled(own: Own, count: int = 12) -> Own:
    """Images of two classes, a patient each, all with the lesion BOX."""
    for n in range(count):
        own.add(("cyst", "nodule")[n % 2], f"p{n}")
    return own


def masks(own: Own, make: object) -> None:
    """Every mask anew; `make` gives the image to be saved as PNG."""
    for row in own.rows:
        make().save(own.root / row["mask"])  # type: ignore[operator]


def found(own: Own, **parts: object) -> tuple[Counter[Box | None], Counter[str]]:
    samples, left_out, _ = own.cut(**parts)
    return Counter(s.lesion_box for s in samples if s.lesion_key), Counter(e.reason for e in left_out)


def coloured(colour: tuple[int, ...], background: tuple[int, ...]) -> Image.Image:
    pixels = np.where(LESION[..., None], np.array(colour, np.uint8), np.array(background, np.uint8))
    return Image.fromarray(pixels)


def palette(*colours: tuple[int, int, int], indices: NDArray[np.bool_] = LESION) -> Image.Image:
    image = Image.fromarray(indices.astype(np.uint8), "P")
    image.putpalette([value for colour in colours for value in colour])
    return image


READ = {
    "alpha, white": lambda: coloured((255, 255, 255, 255), (255, 255, 255, 0)),
    "alpha, black": lambda: coloured((0, 0, 0, 255), (0, 0, 0, 0)),
    "alpha, half opaque brush": lambda: coloured((255, 0, 0, 128), (0, 0, 0, 0)),
    "opaque RGBA": lambda: coloured((255, 255, 255, 255), (0, 0, 0, 255)),
    "palette as labelme and VOC write it": lambda: palette((0, 0, 0), (128, 0, 0)),
    "palette of one grey twice": lambda: palette((0, 0, 0), (0, 0, 0)),
    "palette of black and white": lambda: palette((0, 0, 0), (255, 255, 255)),
    "palette, white first": lambda: palette((255, 255, 255), (0, 0, 0), indices=~LESION),
    "index in the red channel": lambda: coloured((1, 0, 0), (0, 0, 0)),
    "index in the blue channel": lambda: coloured((0, 0, 2), (0, 0, 0)),
    "one colour": lambda: coloured((10, 200, 30), (0, 0, 0)),
    "bilevel": lambda: Image.fromarray(LESION),
    "grey with alpha": lambda: Image.fromarray(np.dstack([LESION * np.uint8(255)] * 2), "LA"),
    "16 bits": lambda: Image.fromarray(LESION.astype(np.uint16) * np.uint16(3)),
}


@pytest.mark.parametrize("kind", READ)
def test_what_plainly_marks_is_read(own: Own, kind: str) -> None:
    masks(filled(own), READ[kind])
    assert found(own) == ({Box(*BOX): 12}, {})


ASKED = {
    "inverted": (lambda: Image.fromarray(~LESION), "zero"),
    "instance numbers": (lambda: Image.fromarray(numbered()), "nonzero"),
    "palette of classes": (lambda: palette((0, 0, 0), (128, 0, 0), (0, 128, 0), indices=numbered()), "nonzero"),
    "class colours": (lambda: palette(BLACK, (255, 0, 0), (0, 255, 0), indices=numbered()).convert("RGB"), "nonzero"),
    "red on white": (lambda: coloured((255, 0, 0), (255, 255, 255)), "#FF0000"),
    "a contour": (lambda: Image.fromarray(LESION & ~ndimage.binary_erosion(LESION)), "nonzero"),
    "a class among two": (lambda: Image.fromarray(numbered(elsewhere=3)), "2"),
}  # fmt: skip


def numbered(elsewhere: int = 0) -> NDArray[np.uint8]:
    """The lesion in two halves, 1 and 2; another region, in a corner, has the number `elsewhere`, the lesion 2."""
    mask = LESION.astype(np.uint8)
    mask[:, 80:] *= 2
    if elsewhere:
        mask[mask > 0] = 2
        mask[200:220, 20:60] = elsewhere
    return mask


@pytest.mark.parametrize("kind", ASKED)
@pytest.mark.parametrize("by_row", [True, False])
def test_what_does_not_is_asked_about_and_read_as_told(own: Own, kind: str, by_row: bool) -> None:
    make, marked = ASKED[kind]
    masks(filled(own), make)
    samples, left_out, check = own.cut()
    assert not samples and {e.reason for e in left_out} == {"mask_ambiguous"}
    assert all("mask_value" in e.detail and "annotation.marked" in e.detail for e in left_out)
    with pytest.raises(ValueError, match=r"12 of 12 lesions left out: mask_ambiguous 12, first images/0\.png"):
        check.require_samples()
    if by_row:
        for row in own.rows:
            row["mask_value"] = marked
        assert found(own) == ({Box(*BOX): 12}, {})
    else:
        assert found(own, annotation=AnnotationConfig(marked=marked)) == ({Box(*BOX): 12}, {})


def test_the_image_is_no_mask_of_itself(own: Own) -> None:
    for row in filled(own).rows:
        row["mask"] = row["image"]
    bilevel = np.zeros((300, 200), np.uint8)
    bilevel[40:60, 40:60] = 255
    Image.fromarray(bilevel).save(own.root / "images/0.png")
    Image.fromarray(bilevel).save(own.root / "copy.png")
    own.rows[0]["mask"] = "copy.png"
    _, left_out, _ = own.cut()
    assert Counter(e.reason for e in left_out) == {"mask_ambiguous": 12}
    assert "the pixels of the image itself" in left_out[0].detail


def test_a_mask_of_several_images_is_asked_about(own: Own) -> None:
    filled(own)
    own.rows[2]["mask"] = own.rows[0]["mask"]
    samples, left_out, _ = own.cut()
    assert [(e.reason, e.lesion_key) for e in left_out] == [
        ("mask_ambiguous", f"{own.rows[n]['image']}#1") for n in (0, 2)
    ]
    assert sum(s.lesion_key is not None for s in samples) == 10


def test_boxes_are_annotations(own: Own) -> None:
    for n, row in enumerate(filled(own).rows):
        row["mask"] = "NA" if n % 3 else ""
        row |= {"x": "60", "y": "80.0", "width": "40", "height": " 30"}
    samples, left_out, _ = own.cut()
    assert {s.lesion_box for s in samples} == {Box(*BOX)} and not left_out
    assert all(s.mask_fraction == pytest.approx(1 / 9) for s in samples)
    own.rows[0] |= {"x": "0.3", "y": "0.2", "width": "0.2", "height": "0.1"}  # proportions
    own.rows[1] |= {"x": "150", "y": "80", "width": "100", "height": "30"}  # the other corner
    own.rows[2] |= {"x": "0", "y": "0", "width": "200", "height": "300"}
    own.rows[3]["image"] = "images/none.png"
    assert found(own)[1] == {"mask_ambiguous": 2, "mask_shape": 1, "image_missing": 1}
    for bad in ({"x": ""}, {"width": "-3"}, {"y": "nan"}, {"height": "12 px"}, {"width": "inf"}, {"x": "1_0"}):
        own.rows[4] |= {"x": "1", "y": "2", "width": "3", "height": "4"} | bad
        with pytest.raises(ValueError, match=r"line 6: .* is no box in pixels"):
            own.cut()
    own.rows[4] |= {"x": "1", "y": "2", "width": "3", "height": "4", "mask": "masks/4.png"}
    with pytest.raises(ValueError, match="line 6: both a mask and a box"):
        own.cut()


@pytest.mark.parametrize("nothing", ["", "NA", "n/a", "None", "nan", "NULL", "-", "0", "#N/A", "<NA>"])
def test_words_for_nothing_are_no_names_of_files(own: Own, nothing: str) -> None:
    filled(own)
    for n in range(6):
        own.add("normal", f"q{n}", mask=False)
        own.rows[-1]["mask"] = nothing
    samples, left_out, check = own.cut()
    check.require_samples()
    assert not left_out and sum(s.label == "normal" for s in samples) == 9
    own.rows[0]["patient"] = "NA"
    with pytest.raises(ValueError, match="line 2: patient is empty"):
        own.cut()


def test_a_class_whose_masks_are_all_black_stops_the_study(own: Own) -> None:
    filled(own)
    for n in range(6):
        own.add("normal", f"q{n}")
        Image.new("L", (200, 300)).save(own.root / own.rows[-1]["mask"])
    words = r"class normal has no sample in train or validation or test: 6 of 6 lesions left out: empty_mask 6"
    with pytest.raises(ValueError, match=words + r", first images/12\.png \(masks/12\.png marks no pixel\)"):
        own.cut()[2].require_samples()


@pytest.mark.parametrize("strays", [1, 3])
def test_a_class_annotated_here_and_there_is_asked_about(own: Own, strays: int) -> None:
    filled(own)
    for n in range(6):
        own.add("normal", f"q{n}", mask=n < strays)
    with pytest.raises(ValueError, match=f"line 14: class normal has an annotation here, and none in {6 - strays} of"):
        own.cut()


def test_a_lesion_whose_mask_was_forgotten_costs_itself_alone(own: Own) -> None:
    filled(own).rows[3]["mask"] = ""
    assert found(own) == ({Box(*BOX): 11}, {"mask_missing": 1})


@pytest.mark.parametrize(
    ("column", "given"),
    [
        ("label", ("cyst", "Cyst")), ("label", ("cyst", "cyst\u200b")), ("label", ("cyst", "cy\nst")),
        ("label", ("cyst", "cyst\u00ad")), ("label", ("zyste ä", "zyste a\u0308")), ("patient", ("P1", "p1")),
        ("patient", ("p 1", "p\u00a01")), ("patient", ("7", "07")), ("patient", ("7", "7.0")),
    ],
)  # fmt: skip
def test_names_that_look_alike_are_asked_about(own: Own, column: str, given: tuple[str, str]) -> None:
    for row, value in zip(filled(own).rows, given, strict=False):
        row[column] = value
    with pytest.raises(ValueError, match=f"{column} .* looks like .* write them the same, or name them apart"):
        own.cut()


def test_files_are_found_by_the_names_that_people_give_them(own: Own) -> None:
    filled(own)
    for n, form in ((0, "NFC"), (1, "NFD")):
        name = unicodedata.normalize(form, "läsion.png")
        (own.root / f"images/{n}").mkdir()
        (own.root / own.rows[n]["image"]).rename(own.root / f"images/{n}/{name}")
        other = unicodedata.normalize("NFD" if form == "NFC" else "NFC", "läsion.png")
        own.rows[n]["image"] = f"images/{n}/{other}"
    own.rows[2]["image"] = "images\\2.png"
    own.rows[3]["image"] = ".\\images\\3.png"
    own.rows[4]["image"] = str(own.root / "images/4.png")
    own.rows[5]["mask"] = f"{own.root}/masks//5.png"
    own.rows[6]["image"] = "C:\\data\\images\\6.png"
    own.rows[7]["image"] = "..\\images\\7.png"
    own.rows[8]["image"] = "/etc/hostname"
    own.rows[9]["image"] = "Images/9.PNG"
    boxes, reasons = found(own)
    assert (boxes, reasons) == ({Box(*BOX): 9}, {"image_refused": 3})
    keys = {i.key for i in read_index(own.study().data, own.root).images}
    assert keys >= {f"images/{n}.png" for n in (2, 3, 4, 5, 9)}


def test_a_file_in_another_case_is_taken_only_where_there_is_one(own: Own) -> None:
    filled(own)
    own.rows[0]["image"] = "images/0.Png"
    (own.root / "images/0.PNG").write_bytes((own.root / "images/0.png").read_bytes())
    own.rows[1]["image"] = "IMAGES/../images/1.png"
    boxes, reasons = found(own)
    assert (boxes, reasons) == ({Box(*BOX): 10}, {"image_missing": 1, "image_refused": 1})


def test_one_marked_pixel_is_a_point_and_no_outline(own: Own) -> None:
    filled(own)
    point = np.zeros((300, 200), np.uint8)
    point[80, 90] = 255
    Image.fromarray(point).save(own.root / own.rows[0]["mask"])
    assert found(own) == ({Box(*BOX): 11}, {"mask_ambiguous": 1})


@pytest.mark.parametrize("names", [("x1", "y1", "x2", "y2"), ("xmin", "ymin", "xmax", "ymax"), ("x", "y", "w", "h")])
def test_boxes_under_other_names_are_asked_about(own: Own, names: tuple[str, ...]) -> None:
    for row in filled(own).rows:
        del row["mask"]
        row.update(zip(names, ("10", "20", "60", "70"), strict=True))
    with pytest.raises(ValueError, match=f"x, y, width, height of boxes.*found .*{names[3]}"):
        own.cut()


def test_text_that_no_index_takes_is_refused_before_the_work(own: Own) -> None:
    for column, length in (("label", 401), ("patient", 401), ("image", 1501), ("lesion", 401)):
        own.rows.clear()
        own.pixels.clear()
        filled(own).rows[1][column] = "x" * length
        with pytest.raises(ValueError, match=f"line 3: {column} is longer than {length - 1} bytes"):
            own.cut()


def test_the_same_pixels_are_found_under_any_name(own: Own) -> None:
    filled(own)
    pixels = Image.open(own.root / "images/0.png")
    for n in (1, 2, 3):
        pixels.save(own.root / f"images/{n}.png", compress_level=n)
    own.rows[4] |= {"patient": "p5", "side": "L", "view": "CC"}
    own.rows[5] |= {"side": "L", "view": "CC"}
    samples, left_out, check = own.cut()
    notes = {(e.image_key, e.reason): e.detail for e in left_out}
    assert set(notes) == {(f"images/{n}.png", "same_pixels") for n in (1, 2, 3)} | {("images/5.png", "same_view")}
    assert notes["images/1.png", "same_pixels"] == (
        "images/1.png (patient p1, class nodule) is images/0.png (patient p0, class cyst)"
    )
    splits = {s.split for s in samples if s.image_key in {f"images/{n}.png" for n in range(4)}}
    leaks = [leak for leak in check.leaks() if leak.shared]
    pairs = combinations([split for split in SPLITS if split in splits], 2)
    assert {(x.entity, x.split_a, x.split_b) for x in leaks} == {("pixels", a, b) for a, b in pairs}
    assert len(splits) > 1 and all(x.examples[0].startswith("images/") for x in leaks)


def test_own_data_have_a_name_and_a_phantom_is_one(own: Own, phantom: Path) -> None:
    filled(own).finish()
    assert read_index(DataConfig(root=own.root), own.root).name == "own"
    assert read_index(DataConfig(root=own.root, name="Ward 3"), own.root).name == "Ward 3"
    drawn = read_index(DataConfig(root=phantom), phantom)
    assert (drawn.name, drawn.kind) == ("phantom", "phantom")
    for place in (own.root / "manifest.csv", own.root / "nothing"):
        with pytest.raises(ValueError, match=r"(a file|not there): name the folder"):
            recognise(place)
