"""What one process does with one image: decode it and its masks once, cut every patch. Arguments and results travel
between processes, so they are small: paths, boxes and resized patches."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from lesionlens.config import PatchConfig
from lesionlens.identity import generator
from lesionlens.images.annotation import MaskShapeError, Roi, binarise, components, find_roi, fit_mask
from lesionlens.images.image import Picture, UnusableImageError
from lesionlens.images.reading import read_picture
from lesionlens.records import Box, Exclusion, Image, ImageSize, Lesion, Overview, Sample, Split
from lesionlens.samples.windows import background_windows, cut_mask, lesion_window

OVERVIEW = 320  # longer side of a small whole image in pixels


@dataclass(frozen=True, slots=True)
class LesionTask:
    """A lesion to cut under a class, for a split."""

    lesion: Lesion
    label: str
    split: Split


@dataclass(frozen=True, slots=True)
class LesionJob:
    """An image and its lesions; `overview` asks for the whole image, small, besides."""

    root: Path
    image: Image
    tasks: tuple[LesionTask, ...]
    patches: PatchConfig
    seed: int
    overview: bool = False


@dataclass(frozen=True, slots=True)
class BackgroundJob:
    """An image, its masks, and the sizes (width, height) of the windows wanted from it; `overview` as above."""

    root: Path
    image: Image
    masks: tuple[str, ...]
    sizes: tuple[tuple[int, int], ...]
    most: int
    min_mean: float
    size: int
    seed: int
    overview: bool = False


@dataclass(frozen=True, slots=True, eq=False)
class BackgroundFound:
    """Windows with their resized pixels, and the whole image where it was asked for and a window was found."""

    size: ImageSize
    windows: tuple[tuple[Box, NDArray[np.uint8]], ...]
    overview: Overview | None


def cut_lesions(job: LesionJob) -> list[Sample | Exclusion | ImageSize | Overview]:
    """The image's size, patches and exclusions of its lesions in their order, its overview where there is a patch."""
    try:
        picture = read_picture(job.root, job.image.path)
    except UnusableImageError as error:
        reason = f"image_{error.reason}"
        return [Exclusion(job.image.key, task.lesion.key, reason, error.detail) for task in job.tasks]
    items: list[Sample | Exclusion | ImageSize | Overview] = [image_size(job.image, picture)]
    for task in job.tasks:
        items += _cut_lesion(job, task, picture)
    if job.overview and any(isinstance(item, Sample) for item in items):
        items.append(overview(job.image, picture))
    return items


def _cut_lesion(job: LesionJob, task: LesionTask, picture: Picture) -> list[Sample | Exclusion]:
    key = task.lesion.key
    notes: list[Sample | Exclusion] = []
    try:
        mask_picture = read_picture(job.root, str(task.lesion.mask_path))
        mask, threshold, resized = fit_mask(mask_picture, picture.shape)
    except UnusableImageError as error:
        return [Exclusion(job.image.key, key, f"mask_{error.reason}", error.detail)]
    except MaskShapeError as error:
        return [Exclusion(job.image.key, key, "mask_shape", str(error))]
    if resized:
        notes.append(Exclusion(job.image.key, None, "mask_resized", _resized(key, mask_picture, picture)))
    roi = find_roi(mask, threshold)
    if roi is None:
        return [*notes, Exclusion(job.image.key, key, "empty_mask", f"{task.lesion.mask_path} marks no pixel")]
    if job.patches.component == "all":
        return [*notes, _patch(job, task, picture, roi, roi, key)]
    return [*notes, *(_patch(job, task, picture, roi, p, f"{key}#{n}") for n, p in enumerate(components(roi), 1))]


def _patch(job: LesionJob, task: LesionTask, picture: Picture, roi: Roi, part: Roi, key: str) -> Sample:
    """The patch around `part` of a lesion `roi`; its mask shows all of the lesion that lies in the window."""
    x, y = generator(job.seed, "jitter", key).random(2)
    window = lesion_window(part, picture.shape, job.patches.context, job.patches.jitter, (float(x), float(y)))
    mask, fraction = cut_mask(roi, window, job.patches.size)
    return Sample(
        key=key,
        label=task.label,
        image_key=job.image.key,
        lesion_key=task.lesion.key,
        patient=job.image.patient,
        split=task.split,
        window=window,
        lesion_box=part.box,
        mask_fraction=fraction,
        pixels=picture.patch(window, job.patches.size, job.patches.size),
        mask=mask,
    )


def cut_background(job: BackgroundJob) -> BackgroundFound | Exclusion:
    """Windows of an image; an exclusion where image or masks can't be read, as a lesion may be hidden."""
    try:
        picture = read_picture(job.root, job.image.path)
        masked = np.zeros(picture.shape, dtype=np.bool_)
        for path in job.masks:
            masked |= binarise(read_picture(job.root, path), picture.shape)[0]
    except UnusableImageError as error:
        return Exclusion(job.image.key, None, "background_unreadable", error.detail)
    except MaskShapeError as error:
        return Exclusion(job.image.key, None, "background_unreadable", str(error))
    rng = generator(job.seed, "background", job.image.key)
    windows = background_windows(picture, masked, job.sizes, job.min_mean, job.most, rng)
    found = tuple((window, picture.patch(window, job.size, job.size)) for window in windows)
    return BackgroundFound(
        image_size(job.image, picture), found, overview(job.image, picture) if job.overview and found else None
    )


def image_size(image: Image, picture: Picture) -> ImageSize:
    """Its size."""
    height, width = picture.shape
    return ImageSize(image.key, width, height)


def overview(image: Image, picture: Picture) -> Overview:
    """The whole image, small."""
    height, width = picture.shape
    scale = min(1.0, OVERVIEW / max(width, height))
    small = max(1, round(width * scale)), max(1, round(height * scale))
    return Overview(image.key, picture.patch(Box(0, 0, width, height), *small))


def _resized(key: str, mask: Picture, image: Picture) -> str:
    (rows, columns), (height, width) = mask.shape, image.shape
    return f"{key}: mask {columns} x {rows} brought to {width} x {height}"
