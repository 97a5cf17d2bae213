"""Annotations: from a mask file or an outline to marked pixels, their bounding box and connected components."""

from dataclasses import dataclass
from math import ceil

import numpy as np
from numpy.typing import NDArray
from PIL import Image as Pillow
from scipy import ndimage
from skimage.draw import polygon

from lesionlens.images.image import GreyImage, MaskFile, Pixels, UnusableImageError, bounding_box, box_iou, resize_mask
from lesionlens.records import Box, Outline

WORDS = "nonzero, zero, alpha, a value, or a colour such as #ff0000"
JPEG_THRESHOLD = 127  # of masks: 1-19 and 236-254 occur around edges
JPEG_NOISE = 32
LEVELS = 16  # a lossless mask of no more values has no noise
EDGE = 3  # pixels that an edge between marked and unmarked may be wide, in each direction
MIN_COMPONENT = 0.01  # smaller components, as a proportion of the largest one's pixels, are compression artefacts
MAX_COMPONENT_IOU = 0.5  # of two component boxes that overlap more, the smaller one is suppressed
ASPECT_TOLERANCE = 0.01
NEIGHBOURS = np.ones((3, 3), dtype=np.bool_)


@dataclass(frozen=True, slots=True, eq=False)
class Annotation:
    """The pixels of a lesion: its bounding box in the image and the mask inside it, bool [box height, box width]."""

    box: Box
    mask: NDArray[np.bool_]


def marked_pixels(file: MaskFile, marked: str = "auto", most: float = 1.0) -> tuple[Pixels | NDArray[np.bool_], int]:
    """What a mask marks, as pixels [height, width] and the value above which they are marked.

    `marked` names it: `nonzero`, `zero`, `alpha` (the opaque part), a value or palette index, or a colour `#rrggbb`.
    `auto` takes a mask only where it is plainly one: one grey value or colour, or opacity, on another, with nothing
    between them but the edges. A JPEG marks above 127, any other file above the middle of its two values.

    Raises UnusableImageError 'ambiguous', which says what to set, for any other mask, and for one that marks more than
    the proportion `most` of the image.
    """
    found = _plain(file) if marked == "auto" else (_named(file, marked), 0)
    pixels, threshold = found
    corners = all(pixels[row, column] > threshold for row in (0, -1) for column in (0, -1))
    if marked == "auto" and corners:
        raise _ambiguous(file, "marks all corners of the image", "Where the lesion is black, that is zero")
    if marked == "auto" and _is_contour(pixels, threshold):
        raise _ambiguous(file, "marks a contour and leaves out what it encloses", "Fill it; as it is, that is nonzero")
    _check_proportion(file.name, pixels, threshold, most)
    return found


def fit_mask(
    marks: tuple[Pixels | NDArray[np.bool_], int], file: MaskFile, image: GreyImage
) -> tuple[Pixels | NDArray[np.bool_], int, bool]:
    """Marks of the image's shape (height, width), the value above which they mark, and whether they were resized.

    A mask of another size is resized (nearest) where its aspect ratio is the image's within 1 %, else
    UnusableImageError 'shape', which names the orientation that either file was turned by.
    """
    mask, threshold = marks
    if mask.shape == image.shape:
        return mask, threshold, False
    (height, width), (rows, columns) = image.shape, mask.shape
    if not same_aspect((columns, rows), (width, height)):
        sizes = f"mask {columns} x {rows}{_turned(file.turn)}, image {width} x {height}{_turned(image.turn)}"
        raise UnusableImageError("shape", sizes)
    return resize_mask(mask > threshold, width, height), 0, True


def _turned(turn: int) -> str:
    return f" (turned as its orientation {turn} says)" if turn > 1 else ""


def _check_proportion(name: str, mask: Pixels | NDArray[np.bool_], threshold: int, most: float) -> None:
    proportion = np.count_nonzero(mask > threshold) / mask.size
    if proportion > most:
        raise UnusableImageError(
            "ambiguous",
            f"{name} marks {proportion * 100:.0f} % of the image: correct it, raise annotation.most for larger ones, "
            "or, where it is black, set the column mask_value or annotation.marked to zero",
        )


def draw_outline(outline: Outline, image: GreyImage, most: float = 1.0) -> NDArray[np.bool_]:
    """The pixels whose centres lie in one of the polygons, bool [height, width].

    An outline made for another size of the image is scaled where the aspect ratio is the same within 1 %.
    UnusableImageError 'shape' where it is not, or where the outline leaves the image by more than 1 % of its sides,
    'ambiguous' where it holds more than the proportion `most` of the image, or is no larger than a pixel.
    """
    height, width = image.shape
    columns, rows = outline.size or (width, height)
    if not same_aspect((columns, rows), (width, height)):
        raise UnusableImageError(
            "shape", f"outline for {columns} x {rows} pixels, image {width} x {height}{_turned(image.turn)}"
        )
    mask = np.zeros((height, width), dtype=np.bool_)
    scale = np.array([width / columns, height / rows])
    room = np.maximum(ASPECT_TOLERANCE * np.array([width, height]), 1)
    for points in outline.polygons:
        corners = np.array(points, dtype=np.float64)
        across, down = np.ptp(corners, axis=0)
        if 0 < max(across, down) <= 1:
            raise UnusableImageError("ambiguous", f"an outline of {across:g} x {down:g} pixels; give pixels")
        corners *= scale
        if (corners < -room).any() or (corners > np.array([width, height]) + room).any():
            (x0, y0), (x1, y1) = corners.min(axis=0), corners.max(axis=0)
            what = f"{x0:g}, {y0:g} to {x1:g}, {y1:g}"
            raise UnusableImageError("shape", f"outline of {what} leaves the image of {width} x {height} pixels")
        inside = polygon(corners[:, 1] - 0.5, corners[:, 0] - 0.5, mask.shape)  # type: ignore[no-untyped-call]
        mask[inside] = True
    _check_proportion("the outline", mask, 0, most)
    return mask


def _plain(file: MaskFile) -> tuple[Pixels | NDArray[np.bool_], int]:
    """What marks where nobody said so."""
    values, colour = file.values, file.colour
    if file.alpha is not None and file.alpha.min() != file.alpha.max():
        opaque = file.alpha > 127
        shown = (file.values[..., None] if colour is None else colour)[opaque]
        if shown.size and np.ptp(shown, axis=0).max() > LEVELS:
            raise _ambiguous(file, "has transparency and several colours")
        values, colour = file.alpha, None
    if colour is not None and colour.reshape(-1, 3).min(axis=0).tolist() != colour.reshape(-1, 3).max(axis=0).tolist():
        values = colour.max(axis=2)
        if not _one_hue(colour, values, file.lossless):
            raise _ambiguous(file, "has several colours")
    return _two_values(file, values)


def _two_values(file: MaskFile, values: Pixels) -> tuple[Pixels, int]:
    """The values and the threshold between their two kinds."""
    counts = _histogram(values)
    used = np.flatnonzero(counts)
    low, high = int(used[0]), int(used[-1])
    if not file.lossless and high <= JPEG_NOISE:
        return values, JPEG_THRESHOLD
    if low == high:
        return values, 0
    exact = file.lossless and used.size <= LEVELS
    margin = 0 if exact else (high - low) / 8
    inner = slice(int(low + margin) + 1, ceil(high - margin))
    if counts[inner].any() and not _is_edge(values, inner, (low, high), margin, exact):
        some = ", ".join(map(str, used[:4])) + (" and more" if used.size > 4 else "")
        raise _ambiguous(file, f"holds the values {some}, not two")
    return values, JPEG_THRESHOLD if not file.lossless and low <= JPEG_THRESHOLD < high else (low + high) // 2


def _is_edge(values: Pixels, inner: slice, ends: tuple[int, int], margin: float, exact: bool) -> bool:
    """Whether pixels between the two kinds form edges: near to both, few, and without an area of one value.

    inner: the values between. exact: the file has few values, so that none of them is noise.
    """
    around = bounding_box(values, inner.start - 1)  # outside all is of the lower kind
    if around is None:
        return False
    values = values[_grown(around)]
    between = (values >= inner.start) & (values < inner.stop)
    box, count = bounding_box(between), np.count_nonzero(between)
    marked = int(np.count_nonzero(values >= ends[1] - margin))
    if box is None or count > 2 * marked + LEVELS:
        return False
    between, values = between[_grown(box)], values[_grown(box)]
    lowest, highest = ndimage.minimum_filter(values, 3), ndimage.maximum_filter(values, 3)
    if exact and bool((between & (lowest == highest)).any()):
        return False
    reach = 2 * EDGE + 1
    near = ndimage.minimum_filter(values, reach) <= ends[0] + margin
    near &= ndimage.maximum_filter(values, reach) >= ends[1] - margin
    return bool(np.count_nonzero(between & ~near) <= (0 if exact else MIN_COMPONENT * marked))


def _grown(box: Box) -> tuple[slice, slice]:
    """The box and EDGE pixels around it."""
    return np.s_[max(box.y0 - EDGE, 0) : box.y1 + EDGE, max(box.x0 - EDGE, 0) : box.x1 + EDGE]


def _one_hue(colour: NDArray[np.uint8], brightness: NDArray[np.uint8], lossless: bool) -> bool:
    """Whether every pixel is one colour, or darker than it: a mixture of it with black."""
    row, column = np.unravel_index(int(brightness.argmax()), brightness.shape)
    top = colour[row, column].astype(np.int32)
    most = int(top.max())
    allowed = most * (JPEG_NOISE if not lossless else 1 if most > LEVELS else 0)
    light = brightness.astype(np.int32)
    return all(
        bool((np.abs(colour[..., n].astype(np.int32) * most - light * top[n]) <= allowed).all()) for n in range(3)
    )


def _is_contour(pixels: Pixels | NDArray[np.bool_], threshold: int) -> bool:
    """Whether marked pixels enclose more than twice their own number of unmarked ones."""
    box = bounding_box(pixels, threshold)
    if box is None:
        return False
    free = pixels[box.y0 : box.y1, box.x0 : box.x1] <= threshold
    marked = free.size - np.count_nonzero(free)
    if free.size <= 3 * marked:
        return False
    labels, _ = ndimage.label(np.pad(free, 1, constant_values=True))
    return bool(np.count_nonzero((labels > 0) & (labels != labels[0, 0])) > 2 * marked)


def _named(file: MaskFile, marked: str) -> NDArray[np.bool_]:
    """The pixels that a word, value or colour names; bool [height, width]."""
    noise = 0 if file.lossless else JPEG_NOISE
    values: NDArray[np.int32] = file.values.astype(np.int32)
    if marked == "alpha":
        if file.alpha is None:
            raise _ambiguous(file, "has no transparency")
        return file.alpha > 127
    if marked == "nonzero":
        return values > (0 if file.lossless else JPEG_THRESHOLD)
    if marked == "zero":
        try:
            pixels, threshold = _two_values(file, file.values)
        except UnusableImageError:  # several values: what none of them names
            return np.asarray(values == 0)
        return pixels <= threshold
    if marked.startswith("#"):
        wanted = np.array([int(marked[n : n + 2], 16) for n in (1, 3, 5)])
        shown = values[..., None] if file.colour is None else file.colour.astype(np.int32)
        return np.asarray(np.abs(shown - wanted).max(axis=2) <= noise)
    return np.asarray(np.abs(values - int(marked)) <= noise)


def _ambiguous(file: MaskFile, what: str, more: str = "") -> UnusableImageError:
    remedy = f"say in the column mask_value or in annotation.marked what marks the lesion ({WORDS})"
    return UnusableImageError("ambiguous", f"{file.name} {what}: {remedy}{'. ' + more if more else ''}")


def _histogram(values: Pixels) -> NDArray[np.int64]:
    """How often each value occurs; in strips, as counting makes 8 bytes of every pixel."""
    if values.dtype == np.uint8:
        return np.array(Pillow.fromarray(values).histogram())
    strips = (values[start : start + 256].ravel() for start in range(0, len(values), 256))
    return sum((np.bincount(strip, minlength=65536) for strip in strips), np.zeros(65536, dtype=np.int64))


def same_aspect(a: tuple[int, int], b: tuple[int, int]) -> bool:
    """Whether two sizes (width, height) have the same aspect ratio within 1 %."""
    return abs((a[0] * b[1]) / (a[1] * b[0]) - 1) <= ASPECT_TOLERANCE


def find_annotation(mask: Pixels | NDArray[np.bool_], threshold: int = 0) -> Annotation | None:
    """The annotation of a full-size mask without compression artefacts, None where nothing lies above the threshold."""
    box = bounding_box(mask, threshold)
    if box is None:
        return None
    inner = mask[box.y0 : box.y1, box.x0 : box.x1] > threshold
    labels, _ = ndimage.label(inner, NEIGHBOURS)
    sizes = np.bincount(labels.ravel())
    sizes[0] = 0
    kept = inner & (sizes >= MIN_COMPONENT * sizes.max())[labels]
    tight = bounding_box(kept)
    assert tight is not None  # the largest component is kept
    placed = Box(box.x0 + tight.x0, box.y0 + tight.y0, box.x0 + tight.x1, box.y0 + tight.y1)
    return Annotation(placed, kept[tight.y0 : tight.y1, tight.x0 : tight.x1])


def components(annotation: Annotation) -> tuple[Annotation, ...]:
    """Its connected components (8 neighbours), largest box first; see MAX_COMPONENT_IOU."""
    labels, _ = ndimage.label(annotation.mask, NEIGHBOURS)
    found = []
    for n, (rows, columns) in enumerate(ndimage.find_objects(labels), 1):
        x0, y0 = annotation.box.x0, annotation.box.y0
        box = Box(x0 + columns.start, y0 + rows.start, x0 + columns.stop, y0 + rows.stop)
        found.append(Annotation(box, labels[rows, columns] == n))
    found.sort(key=lambda component: (-component.box.width * component.box.height, component.box.y0, component.box.x0))
    kept: list[Annotation] = []
    for component in found:
        if all(box_iou(component.box, other.box) <= MAX_COMPONENT_IOU for other in kept):
            kept.append(component)
    return tuple(kept)
