"""What one process does with one film: decode it and its masks once, bring them to the size of a sample."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image as Pillow
from scipy import ndimage

from lesionlens.config.data import FILM_SCALE
from lesionlens.config.study import StudyConfig
from lesionlens.images.annotation import Annotation, find_annotation
from lesionlens.images.image import GreyImage, UnusableImageError
from lesionlens.images.reading import read_image
from lesionlens.records import Box, Exclusion, Image, Lesion, Sample, ShownLesion, Split
from lesionlens.samples.cutting import Item, read_marks, with_image

DARK = 0.05
"""Grey of the background at most, as a proportion of the brightest pixel."""
LEAST, MOST = 0.05, 0.95
"""Proportions of a film between which a breast is believed."""


@dataclass(frozen=True, slots=True)
class FilmJob:
    """A film, its lesions of a class, its own class and split; `files`: images of it, tried in turn."""

    root: Path
    image: Image
    files: tuple[Image, ...]
    overview: bool
    lesions: tuple[Lesion, ...]
    label: str
    split: Split
    study: StudyConfig


def cut_film(job: FilmJob) -> list[Item]:
    """The film's size, its sample, exclusions of lesions whose annotation can't be used, its overview.

    Without a readable annotation a film with lesions gives no sample: exclusions alone say why.
    """
    try:
        image = _first(job)
    except UnusableImageError as error:
        reason = f"image_{error.reason}"
        keys: list[str | None] = [lesion.key for lesion in job.lesions] or [None]
        return [Exclusion(job.image.key, key, reason, error.detail) for key in keys]
    found: list[tuple[Lesion, Annotation]] = []
    items: list[Sample | Exclusion] = []
    for lesion in job.lesions:
        marked = _annotation(job, lesion, image)
        if isinstance(marked, Exclusion):
            items.append(marked)
        else:
            found.append((lesion, marked))
    if found or not job.lesions:
        items += _sample(job, image, found)
    return with_image(job.image, image, items, job.overview)


def _first(job: FilmJob) -> GreyImage:
    """The first file of the film that can be read, else the error of the first."""
    errors = []
    for file in job.files:
        try:
            return read_image(job.root, file.path)
        except UnusableImageError as error:
            errors.append(error)
    raise errors[0]


def _annotation(job: FilmJob, lesion: Lesion, image: GreyImage) -> Annotation | Exclusion:
    try:
        mask, threshold, _ = read_marks(job.root, lesion, image, job.study.annotation)
    except UnusableImageError as error:
        return Exclusion(job.image.key, lesion.key, f"mask_{error.reason}", error.detail)
    found = find_annotation(mask, threshold)
    if found is None:
        return Exclusion(job.image.key, lesion.key, "empty_mask", f"{lesion.mask_path or lesion.key} marks no pixel")
    return found


def _sample(job: FilmJob, image: GreyImage, found: Sequence[tuple[Lesion, Annotation]]) -> list[Sample | Exclusion]:
    """The sample, and a note where its breast is unclear.

    Its mask and lesion are those of the film's class: a malignant film is asked for its malignant lesions.
    """
    place = Placed.of(image.shape, job.study)
    pixels = place.grey(image)
    own = [each for each in found if each[0].label == job.label]
    masks = [place.mask(annotation) for _, annotation in own]
    whole = np.zeros(image.shape, dtype=np.bool_)
    for _, annotation in own:
        box = annotation.box
        whole[box.y0 : box.y1, box.x0 : box.x1] |= annotation.mask
    coarse = np.asarray(Pillow.fromarray(pixels).reduce(FILM_SCALE))
    breast = breast_mask(coarse)
    sample = Sample(
        key=job.image.key,
        label=job.label,
        image_key=job.image.key,
        lesion_key=own[0][0].key if own else None,
        patient=job.image.patient,
        split=job.split,
        window=Box(0, 0, image.shape[1], image.shape[0]),
        lesion_box=_union([annotation.box for _, annotation in own]) if own else None,
        mask_fraction=float(whole.mean()) if own else None,
        pixels=pixels,
        mask=np.any(masks, axis=0) if own else None,
        breast=np.ones(coarse.shape, dtype=np.bool_) if breast is None else breast,
        lesions=tuple(ShownLesion(lesion.key, place.box(annotation.box)) for lesion, annotation in found),
    )
    if breast is None:
        return [sample, Exclusion(job.image.key, None, "breast_unclear", "nothing tells it from the background")]
    return [sample]


def _union(boxes: Sequence[Box]) -> Box:
    return Box(
        min(box.x0 for box in boxes),
        min(box.y0 for box in boxes),
        max(box.x1 for box in boxes),
        max(box.y1 for box in boxes),
    )


@dataclass(frozen=True, slots=True)
class Placed:
    """How a film lies in its sample: pixels added on each side, (before, after) of rows and columns, then resized."""

    height: int
    width: int
    added: tuple[tuple[int, int], tuple[int, int]]
    canvas: tuple[int, int]

    @classmethod
    def of(cls, shape: tuple[int, int], study: StudyConfig) -> "Placed":
        """Of a film of (rows, columns): stretched, or padded with black on both sides, to the size of `images`."""
        height, width = study.images.height, study.images.width
        (rows, columns), added = shape, (0, 0)
        if study.images.fit == "pad":
            added = max(0, round(columns * height / width) - rows), max(0, round(rows * width / height) - columns)
        sides = ((added[0] // 2, added[0] - added[0] // 2), (added[1] // 2, added[1] - added[1] // 2))
        return cls(height, width, sides, (rows + added[0], columns + added[1]))

    def grey(self, image: GreyImage) -> NDArray[np.uint8]:
        """The film as uint8 [height, width]."""
        padded = replace(image, pixels=self._on_canvas(image.pixels))
        return padded.patch(Box(0, 0, self.canvas[1], self.canvas[0]), self.width, self.height)

    def mask(self, annotation: Annotation) -> NDArray[np.bool_]:
        """Pixels of the mask's grid, bool [height / 4, width / 4], that the annotation covers by half or more; where it
        covers none so far, the one that it covers most.
        """
        box = annotation.box
        rows, columns = (side - sum(added) for side, added in zip(self.canvas, self.added, strict=True))
        marked = np.zeros((rows, columns), dtype=np.uint8)
        marked[box.y0 : box.y1, box.x0 : box.x1] = annotation.mask * np.uint8(255)
        size = self.width // FILM_SCALE, self.height // FILM_SCALE
        covered = np.asarray(Pillow.fromarray(self._on_canvas(marked)).resize(size, Pillow.Resampling.BOX))
        return covered >= min(128, max(1, int(covered.max())))

    def box(self, box: Box) -> tuple[float, float, float, float]:
        """A box of the film in pixels of the sample: x0, y0, x1, y1."""
        top, left = self.added[0][0], self.added[1][0]
        down, across = self.height / self.canvas[0], self.width / self.canvas[1]
        corners = (box.x0 + left) * across, (box.y0 + top) * down, (box.x1 + left) * across, (box.y1 + top) * down
        return corners

    def _on_canvas(self, values: NDArray[Any]) -> NDArray[Any]:
        return np.pad(values, self.added) if any(map(any, self.added)) else values


def breast_mask(grey: NDArray[np.uint8]) -> NDArray[np.bool_] | None:
    """The largest connected part of a film that is brighter than its background, holes filled: bool [h, w].

    grey uint8 [h, w], after a median filter of 3 x 3. None where that is less than 5 % or more than 95 % of the film:
    then nothing tells breast from background.
    """
    smooth = ndimage.median_filter(grey, 3)
    parts, count = ndimage.label(smooth > DARK * smooth.max())
    if not count:
        return None
    largest = 1 + int(np.argmax(np.bincount(parts.ravel())[1:]))
    found: NDArray[np.bool_] = ndimage.binary_fill_holes(parts == largest)
    return found if LEAST <= found.mean() <= MOST else None
