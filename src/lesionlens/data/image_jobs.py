"""What one process does with one image: decode it and its masks once, cut every patch. Arguments and results travel
between processes, so they are small: paths, boxes and resized patches."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from lesionlens.config import PatchConfig
from lesionlens.data.background import background_windows
from lesionlens.data.chance import generator
from lesionlens.data.images import UnusableImageError, read_grey
from lesionlens.data.patches import MaskShapeError, Roi, binarise, components, cut, cut_mask, find_roi, lesion_window
from lesionlens.records import Box, Exclusion, Image, Lesion, Part, Patch


@dataclass(frozen=True, slots=True)
class LesionTask:
    """A lesion to cut under a class, for a part."""

    lesion: Lesion
    label: str
    part: Part


@dataclass(frozen=True, slots=True)
class LesionJob:
    """An image and its lesions."""

    root: Path
    image: Image
    tasks: tuple[LesionTask, ...]
    patches: PatchConfig
    seed: int


@dataclass(frozen=True, slots=True)
class BackgroundJob:
    """An image, its masks, and the sizes (width, height) of the windows wanted from it."""

    root: Path
    image: Image
    masks: tuple[str, ...]
    sizes: tuple[tuple[int, int], ...]
    most: int
    min_mean: float
    size: int
    seed: int


def cut_lesions(job: LesionJob) -> list[Patch | Exclusion]:
    """Patches and exclusions of an image's lesions, in their order."""
    try:
        pixels = read_grey(job.root, job.image.path)
    except UnusableImageError as error:
        reason = f"image_{error.reason}"
        return [Exclusion(job.image.key, task.lesion.key, reason, error.detail) for task in job.tasks]
    return [item for task in job.tasks for item in _cut_lesion(job, task, pixels)]


def _cut_lesion(job: LesionJob, task: LesionTask, pixels: NDArray[np.uint8]) -> list[Patch | Exclusion]:
    key = task.lesion.key
    notes: list[Patch | Exclusion] = []
    try:
        mask_pixels = read_grey(job.root, str(task.lesion.mask_path))
        mask, resized = binarise(mask_pixels, pixels.shape)
    except UnusableImageError as error:
        return [Exclusion(job.image.key, key, f"mask_{error.reason}", error.detail)]
    except MaskShapeError as error:
        return [Exclusion(job.image.key, key, "mask_shape", str(error))]
    if resized:
        notes.append(Exclusion(job.image.key, None, "mask_resized", _resized(key, mask_pixels, pixels)))
    roi = find_roi(mask)
    if roi is None:
        return [*notes, Exclusion(job.image.key, key, "empty_mask", f"{task.lesion.mask_path} has no pixel above 127")]
    if job.patches.component == "all":
        return [*notes, _patch(job, task, pixels, roi, roi, key)]
    return [*notes, *(_patch(job, task, pixels, roi, p, f"{key}#{n}") for n, p in enumerate(components(roi), 1))]


def _patch(job: LesionJob, task: LesionTask, pixels: NDArray[np.uint8], roi: Roi, part: Roi, key: str) -> Patch:
    """The patch around `part` of a lesion `roi`; its mask shows all of the lesion that lies in the window."""
    x, y = generator(job.seed, "jitter", key).random(2)
    window = lesion_window(part, pixels.shape, job.patches.context, job.patches.jitter, (float(x), float(y)))
    mask, fraction = cut_mask(roi, window, job.patches.size)
    return Patch(
        key=key,
        label=task.label,
        image_key=job.image.key,
        lesion_key=task.lesion.key,
        patient=job.image.patient,
        part=task.part,
        window=window,
        lesion_box=part.box,
        mask_fraction=fraction,
        pixels=cut(pixels, window, job.patches.size),
        mask=mask,
    )


def cut_background(job: BackgroundJob) -> list[tuple[Box, NDArray[np.uint8]]] | Exclusion:
    """Windows and their resized pixels; an exclusion where image or masks can't be read, as a lesion may be hidden."""
    try:
        pixels = read_grey(job.root, job.image.path)
        masked = np.zeros(pixels.shape, dtype=np.bool_)
        for path in job.masks:
            masked |= binarise(read_grey(job.root, path), pixels.shape)[0]
    except UnusableImageError as error:
        return Exclusion(job.image.key, None, "background_unreadable", error.detail)
    except MaskShapeError as error:
        return Exclusion(job.image.key, None, "background_unreadable", str(error))
    rng = generator(job.seed, "background", job.image.key)
    windows = background_windows(pixels, masked, job.sizes, job.min_mean, job.most, rng)
    return [(window, cut(pixels, window, job.size)) for window in windows]


def _resized(key: str, mask: NDArray[np.uint8], pixels: NDArray[np.uint8]) -> str:
    return f"{key}: mask {mask.shape[1]} x {mask.shape[0]} brought to {pixels.shape[1]} x {pixels.shape[0]}"
