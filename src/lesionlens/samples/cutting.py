"""What one process does with one image: decode it and its masks once, cut every patch.

Jobs and results travel between processes, so they are small: paths, boxes and resized patches.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from lesionlens.config.data import AnnotationConfig
from lesionlens.config.study import StudyConfig
from lesionlens.identity import generator
from lesionlens.images.annotation import (
    Annotation,
    components,
    draw_outline,
    find_annotation,
    fit_mask,
    marked_pixels,
)
from lesionlens.images.image import GreyImage, Pixels, UnusableImageError
from lesionlens.images.reading import read_image, read_mask
from lesionlens.records import Box, Exclusion, Image, ImageSize, Lesion, Overview, Sample, Split
from lesionlens.samples.windows import background_windows, cut_mask, film_window, lesion_window, windows_of_lesion

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
    study: StudyConfig


@dataclass(frozen=True, slots=True)
class BackgroundJob:
    """At most `background.per_image` windows of an image of class `label`, for a split; `overview` as above.

    lesions: those of no class, whose tissue is no background. sizes: (width, height) of windows, tried in turn.
    """

    root: Path
    image: Image
    overview: bool
    label: str
    split: Split
    lesions: tuple[Lesion, ...]
    sizes: tuple[tuple[int, int], ...]
    study: StudyConfig


def cut_lesions(job: LesionJob) -> list[Item]:
    """The image's size, samples and exclusions of its lesions in their order, its overview where there is a sample."""
    try:
        image = read_image(job.root, job.image.path)
    except UnusableImageError as error:
        reason = f"image_{error.reason}"
        return [Exclusion(job.image.key, task.lesion.key, reason, error.detail) for task in job.tasks]
    cut = [item for task in job.tasks for item in _cut_lesion(job, task, image)]
    return with_image(job.image, image, cut, job.overview)


def _cut_lesion(job: LesionJob, task: LesionTask, image: GreyImage) -> list[Sample | Exclusion]:
    key = task.lesion.key
    try:
        mask, threshold, from_shape = read_marks(job.root, task.lesion, image, job.study.annotation)
    except UnusableImageError as error:
        return [Exclusion(job.image.key, key, f"mask_{error.reason}", error.detail)]
    notes: list[Sample | Exclusion] = []
    if from_shape:
        (rows, columns), (height, width) = from_shape, image.shape
        detail = f"{key}: mask {columns} x {rows} brought to {width} x {height}"
        notes.append(Exclusion(job.image.key, None, "mask_resized", detail))
    whole = find_annotation(mask, threshold)
    if whole is None:
        return [*notes, Exclusion(job.image.key, key, "empty_mask", f"{task.lesion.mask_path or key} marks no pixel")]
    if whole.mask.size == 1:
        detail = f"{task.lesion.mask_path or key} marks one pixel: a point shows no outline; mark the lesion's area"
        return [*notes, Exclusion(job.image.key, key, "mask_ambiguous", detail)]
    if job.study.patches.component == "all":
        return [*notes, *_lesion_samples(job, task, image, whole, whole, key)]
    for n, component in enumerate(components(whole), 1):
        notes += _lesion_samples(job, task, image, whole, component, f"{key}#{n}")
    return notes


def _lesion_samples(
    job: LesionJob, task: LesionTask, image: GreyImage, whole: Annotation, component: Annotation, key: str
) -> list[Sample]:
    """The patch around a component of an annotation, or the training split's copies of one at a film's scale."""
    patches = job.study.patches
    rng = generator(job.study.seed, "jitter", key)
    if patches.frame == "image":
        size, copies = window_in_film(image, job.study), patches.copies if task.split == "train" else 1
        windows = windows_of_lesion(component, image.shape, size, copies, rng)
        names = [key, *(f"{key}/{n}" for n in range(1, len(windows)))]
        return [
            _lesion_sample(job, task, image, whole, component, name, window)
            for name, window in zip(names, windows, strict=True)
        ]
    x, y = rng.random(2)
    square = patches.aspect == "keep"
    window = lesion_window(component, image.shape, patches.context, patches.jitter, (float(x), float(y)), square)
    return [_lesion_sample(job, task, image, whole, component, key, window)]


def window_in_film(image: GreyImage, study: StudyConfig) -> tuple[int, int]:
    """Width and height of a window at the scale at which the study's films are shown."""
    films = study.images
    return film_window(image.shape, study.patches.size, (films.height, films.width), films.fit == "pad")


def is_square(study: StudyConfig) -> bool:
    """Whether windows are squares of the image; at a film's scale they become squares as the film is stretched."""
    return study.patches.aspect == "keep" and study.patches.frame == "lesion"


def _lesion_sample(
    job: LesionJob,
    task: LesionTask,
    image: GreyImage,
    whole: Annotation,
    component: Annotation,
    key: str,
    window: Box,
) -> Sample:
    """A patch; its mask shows all of the annotation within the window."""
    patches, square = job.study.patches, is_square(job.study)
    mask, fraction = cut_mask(whole, window, patches.size, square)
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
        pixels=image.patch(window, patches.size, patches.size, square),
        mask=mask,
    )


def read_marks(
    root: Path, lesion: Lesion, image: GreyImage, config: AnnotationConfig
) -> tuple[Pixels | NDArray[np.bool_], int, tuple[int, int] | None]:
    """What marks a lesion in the image: pixels of its shape, the value above which they mark, and, where a mask of
    another shape (height, width) was resized to it, that shape. UnusableImageError where nothing plainly does."""
    if lesion.outline is not None:
        return draw_outline(lesion.outline, image, config.most), 0, None
    file = read_mask(root, str(lesion.mask_path))
    if file.values.any() and np.array_equal(file.values, image.pixels):
        raise UnusableImageError("ambiguous", f"{file.name} holds the pixels of the image itself: name its mask")
    marks = marked_pixels(file, (lesion.mask_value or config.marked).lower(), config.most)
    mask, threshold, resized = fit_mask(marks, file, image)
    return mask, threshold, file.values.shape[:2] if resized else None


def cut_background(job: BackgroundJob) -> list[Item]:
    """The image's size, samples of tissue outside its masks, its overview where there is a sample.

    An exclusion alone where image or masks can't be read, as a lesion may be hidden.
    """
    try:
        image = read_image(job.root, job.image.path)
        masked = np.zeros(image.shape, dtype=np.bool_)
        for lesion in job.lesions:
            mask, threshold, _ = read_marks(job.root, lesion, image, job.study.annotation)
            masked |= mask > threshold
    except UnusableImageError as error:
        return [Exclusion(job.image.key, None, "background_unreadable", error.detail)]
    rng, config = generator(job.study.seed, "background", job.image.key), job.study.background
    sizes = job.sizes
    if job.study.patches.frame == "image":
        sizes = (window_in_film(image, job.study),) * (2 * config.per_image)
    windows = background_windows(image, masked, sizes, config.min_mean, config.per_image, rng)
    cut = [_background_sample(job, image, window) for window in windows]
    return with_image(job.image, image, cut, job.overview)


def _background_sample(job: BackgroundJob, image: GreyImage, window: Box) -> Sample:
    size, square = job.study.patches.size, is_square(job.study)
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
        pixels=image.patch(window, size, size, square),
        mask=None,
    )


def with_image(of: Image, image: GreyImage, cut: Sequence[Sample | Exclusion], overview: bool) -> list[Item]:
    """What was cut from an image after its size, before notes about it and, where it is asked for, its overview."""
    height, width = image.shape
    items: list[Item] = [ImageSize(of.key, width, height, image.digest()), *cut]
    if image.turn > 1:
        detail = f"{of.path} is shown by its orientation {image.turn}; annotations are taken for drawn on that"
        items.append(Exclusion(of.key, None, "image_turned", detail))
    if overview and any(isinstance(item, Sample) for item in cut):
        scale = min(1.0, OVERVIEW / max(width, height))
        small = max(1, round(width * scale)), max(1, round(height * scale))
        items.append(Overview(of.key, image.patch(Box(0, 0, width, height), *small)))
    return items
