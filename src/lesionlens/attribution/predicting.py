"""A trained run applied to images that it has not seen: where a window lies, probabilities, maps, a picture."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from matplotlib import colormaps
from numpy.typing import NDArray
from PIL import Image

from lesionlens.attribution.explain import Source, explain
from lesionlens.attribution.scaling import activation_maps
from lesionlens.config.study import StudyConfig
from lesionlens.config.training import RunConfig, TrainingConfig
from lesionlens.images.annotation import Annotation, find_annotation, fit_mask, marked_pixels
from lesionlens.images.image import GreyImage
from lesionlens.images.reading import read_image, read_mask
from lesionlens.models.arithmetic import float32
from lesionlens.models.classifier import Classifier
from lesionlens.records import Box, SampleArrays, Statistics
from lesionlens.samples.windows import lesion_window
from lesionlens.training.inputs import Inputs

OPACITY = 0.45


@dataclass(frozen=True, slots=True, eq=False)
class Predictions:
    """probabilities float32 [n, classes]; predicted int64 [n]; maps float32 [n, h, w], unscaled, of the predicted."""

    probabilities: NDArray[np.float32]
    predicted: NDArray[np.int64]
    maps: NDArray[np.float32]


@dataclass(frozen=True, slots=True, eq=False)
class Predictor:
    """A run's network with all that its inputs and maps are made by."""

    model: Classifier
    study: StudyConfig
    run: RunConfig
    training: TrainingConfig
    classes: tuple[str, ...]
    statistics: tuple[Statistics, ...]

    def __post_init__(self) -> None:
        if self.study.unit != "patch":
            raise ValueError(
                f"study {self.study.name} is of whole films: models of patches alone can be applied so far"
            )

    @property
    def size(self) -> int:
        """Side of an input in pixels."""
        return self.study.patches.size

    def predict(self, pixels: NDArray[np.uint8], device: str = "cpu") -> Predictions:
        """Probabilities and maps of patches uint8 [n, size, size].

        ValueError for another size, or a run whose normalisation needs the true class.
        """
        if pixels.ndim != 3 or pixels.shape[1:] != (self.size, self.size):
            raise ValueError(f"patches must be uint8 [n, {self.size}, {self.size}], not {list(pixels.shape)}")
        if self.training.normalise == "per_class":
            raise ValueError("training.normalise is per_class, which needs the true class: this run cannot predict")
        inputs = Inputs(self._samples(pixels), self.training.normalise, torch.device(device))
        method = self.study.evaluation.methods[:1]
        source = Source(inputs, range(len(pixels)))
        with float32():
            found = explain(self.model, source, self.study.evaluation, method, ("predicted",), lambda _: None)
        return Predictions(found.probabilities, found.predicted, found.maps[method[0], "predicted"])

    def patch(self, image: GreyImage, box: Box | None = None) -> tuple[NDArray[np.uint8], Box]:
        """The patch around a lesion's box as the study cuts one without jitter, or of the whole image; and its window.

        A whole image is more than such a network was trained on: a box is better.
        """
        height, width = image.shape
        window, square = Box(0, 0, width, height), True
        if box is not None:
            square = self.study.patches.aspect == "keep"
            lesion = Annotation(box, np.ones((box.height, box.width), dtype=np.bool_))
            window = lesion_window(lesion, image.shape, self.study.patches.context, square=square)
        return image.patch(window, self.size, self.size, square), window

    def picture(self, patch: NDArray[np.uint8], grid: NDArray[np.float32]) -> Image.Image:
        """The patch uint8 [size, size] with its map float32 [h, w] laid over it in colour."""
        scaled, _ = activation_maps(grid[None], patch.shape, self.study.evaluation.scaling)
        heat = colormaps["viridis"](scaled[0])[:, :, :3] * 255
        mixed = (1 - OPACITY) * patch[:, :, None].astype(np.float64) + OPACITY * heat
        return Image.fromarray(np.rint(mixed).clip(0, 255).astype(np.uint8))

    def _samples(self, pixels: NDArray[np.uint8]) -> SampleArrays:
        n = len(pixels)
        nothing, words = np.zeros(n, dtype=np.bool_), np.array([""] * n, dtype=np.str_)
        return SampleArrays(
            "", self.classes, np.arange(n), pixels, np.zeros(pixels.shape, dtype=np.bool_), np.zeros(n, dtype=np.int64),
            words, words, nothing, self.classes, self.statistics,
        )  # fmt: skip


def open_image(path: Path) -> GreyImage:
    """Any image that a data set may hold. Raises UnusableImageError."""
    return read_image(path.parent, path.name)


def box_of_mask(path: Path, image: GreyImage, study: StudyConfig) -> Box:
    """The box of what a mask file marks in the image. UnusableImageError, or ValueError for none."""
    file = read_mask(path.parent, path.name)
    mask, threshold, _ = fit_mask(marked_pixels(file, study.annotation.marked, study.annotation.most), file, image)
    found = find_annotation(mask, threshold)
    if found is None:
        raise ValueError(f"{path} marks no pixel")
    return found.box


def box_within(corners: Sequence[int], image: GreyImage) -> Box:
    """A box x0, y0, x1, y1 (half-open). ValueError where it holds no pixel of the image, or leaves it."""
    x0, y0, x1, y1 = corners
    height, width = image.shape
    if not (0 <= x0 < x1 <= width and 0 <= y0 < y1 <= height):
        raise ValueError(f"box {x0}, {y0}, {x1}, {y1} does not lie in the image of {width} x {height} pixels")
    return Box(x0, y0, x1, y1)
