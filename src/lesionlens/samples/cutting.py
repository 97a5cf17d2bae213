"""What one process does with one image: decode it and its masks once, cut every patch.

Jobs and results travel between processes, so they are small: paths, boxes and resized patches.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from lesionlens.config import PatchConfig
from lesionlens.identity import generator
from lesionlens.images.annotation import Annotation, components, find_annotation, fit_mask
from lesionlens.images.image import GreyImage, UnusableImageError
from lesionlens.images.reading import read_image
from lesionlens.records import Box, Exclusion, Image, ImageSize, Lesion, Overview, Sample, Split
from lesionlens.samples.windows import background_windows, cut_mask, lesion_window

Item = Sample | Exclusion | ImageSize | Overview

OVERVIEW = 320  # longer side of an overview in pixels


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
    overview: bool
    tasks: tuple[LesionTask, ...]
    patches: PatchConfig
    seed: int


@dataclass(frozen=True, slots=True)
class BackgroundJob:
    """At most `most` windows of an image of class `label`, for a split; `overview` as above.

    masks: paths of the image's masks. sizes: (width, height) of windows, tried in turn. min_mean: least mean grey of a
    window, 0 to 255. size: side of a patch.
    """

    root: Path
    image: Image
    overview: bool
    label: str
    split: Split
    masks: tuple[str, ...]
    sizes: tuple[tuple[int, int], ...]
    most: int
    min_mean: float
    size: int
    seed: int


def cut_lesions(job: LesionJob) -> list[Item]:
    """The image's size, samples and exclusions of its lesions in their order, its overview where there is a sample."""
    try:
        image = read_image(job.root, job.image.path)
    except UnusableImageError as error:
        reason = f"image_{error.reason}"
        return [Exclusion(job.image.key, task.lesion.key, reason, error.detail) for task in job.tasks]
    return _with_image(job, image, [item for task in job.tasks for item in _cut_lesion(job, task, image)])


def _cut_lesion(job: LesionJob, task: LesionTask, image: GreyImage) -> list[Sample | Exclusion]:
    key = task.lesion.key
    try:
        mask_file = read_image(job.root, str(task.lesion.mask_path))
        mask, threshold, resized = fit_mask(mask_file, image.shape)
    except UnusableImageError as error:
        return [Exclusion(job.image.key, key, f"mask_{error.reason}", error.detail)]
    notes: list[Sample | Exclusion] = []
    if resized:
        (rows, columns), (height, width) = mask_file.shape, image.shape
        detail = f"{key}: mask {columns} x {rows} brought to {width} x {height}"
        notes.append(Exclusion(job.image.key, None, "mask_resized", detail))
    whole = find_annotation(mask, threshold)
    if whole is None:
        return [*notes, Exclusion(job.image.key, key, "empty_mask", f"{task.lesion.mask_path} marks no pixel")]
    if job.patches.component == "all":
        return [*notes, _lesion_sample(job, task, image, whole, whole, key)]
    found = enumerate(components(whole), 1)
    return [*notes, *(_lesion_sample(job, task, image, whole, component, f"{key}#{n}") for n, component in found)]


def _lesion_sample(
    job: LesionJob, task: LesionTask, image: GreyImage, whole: Annotation, component: Annotation, key: str
) -> Sample:
    """The patch around a component of an annotation; its mask shows all of the annotation within the window."""
    x, y = generator(job.seed, "jitter", key).random(2)
    window = lesion_window(component, image.shape, job.patches.context, job.patches.jitter, (float(x), float(y)))
    mask, fraction = cut_mask(whole, window, job.patches.size)
    return Sample(
        key=key,
        label=task.label,
        image_key=job.image.key,
        lesion_key=task.lesion.key,
        patient=job.image.patient,
        split=task.split,
        window=window,
        lesion_box=component.box,
        mask_fraction=fraction,
        pixels=image.patch(window, job.patches.size, job.patches.size),
        mask=mask,
    )


def cut_background(job: BackgroundJob) -> list[Item]:
    """The image's size, samples of tissue outside its masks, its overview where there is a sample.

    An exclusion alone where image or masks can't be read, as a lesion may be hidden.
    """
    try:
        image = read_image(job.root, job.image.path)
        masked = np.zeros(image.shape, dtype=np.bool_)
        for path in job.masks:
            mask, threshold, _ = fit_mask(read_image(job.root, path), image.shape)
            masked |= mask > threshold
    except UnusableImageError as error:
        return [Exclusion(job.image.key, None, "background_unreadable", error.detail)]
    rng = generator(job.seed, "background", job.image.key)
    windows = background_windows(image, masked, job.sizes, job.min_mean, job.most, rng)
    return _with_image(job, image, [_background_sample(job, image, window) for window in windows])


def _background_sample(job: BackgroundJob, image: GreyImage, window: Box) -> Sample:
    return Sample(
        key=f"{job.image.key}@{window.x0},{window.y0},{window.x1},{window.y1}",
        label=job.label,
        image_key=job.image.key,
        lesion_key=None,
        patient=job.image.patient,
        split=job.split,
        window=window,
        lesion_box=None,
        mask_fraction=None,
        pixels=image.patch(window, job.size, job.size),
        mask=None,
    )


def _with_image(job: LesionJob | BackgroundJob, image: GreyImage, cut: Sequence[Sample | Exclusion]) -> list[Item]:
    height, width = image.shape
    items: list[Item] = [ImageSize(job.image.key, width, height), *cut]
    if job.overview and any(isinstance(item, Sample) for item in cut):
        scale = min(1.0, OVERVIEW / max(width, height))
        small = max(1, round(width * scale)), max(1, round(height * scale))
        items.append(Overview(job.image.key, image.patch(Box(0, 0, width, height), *small)))
    return items
