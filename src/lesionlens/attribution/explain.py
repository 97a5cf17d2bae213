"""Predictions and unscaled maps of one model over many samples, in batches."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from lesionlens.attribution import closed_form
from lesionlens.attribution.registry import METHODS
from lesionlens.config.evaluation import EvaluationConfig, Explains, Method
from lesionlens.errors import EvaluationError
from lesionlens.models.classifier import Classifier, Layer
from lesionlens.training.inputs import Inputs

Target = Literal["predicted", "true"]
TARGETS: tuple[Target, ...] = ("predicted", "true")
Advance = Callable[[int], None]
"""Called with the number of samples of a finished batch."""
BATCH = 32
MANY = 64  # samples from which on a faster copy of the network (a tenth of a second) pays


@dataclass(frozen=True, slots=True, eq=False)
class Source:
    """The samples at positions `rows` of the inputs.

    stem [samples, c, h, w]: the frozen half's output for all samples of the inputs, where it is stored; else None.
    """

    inputs: Inputs
    rows: Sequence[int]
    stem: Tensor | None = None


@dataclass(frozen=True, slots=True, eq=False)
class Explained:
    """probabilities float32 [n, classes]; predicted int64 [n]; maps float32 [n, h, w], unscaled, by method, target."""

    probabilities: NDArray[np.float32]
    predicted: NDArray[np.int64]
    maps: dict[tuple[Method, Target], NDArray[np.float32]]


def explain(
    model: Classifier,
    source: Source,
    evaluation: EvaluationConfig,
    methods: tuple[Method, ...],
    targets: tuple[Target, ...],
    advance: Advance,
) -> Explained:
    """Predict the source's samples and explain every target by every method.

    Grad-CAM in closed form where that holds, everything else by the package. The true class is explained anew only
    where it was not the predicted one. Raises EvaluationError, naming the sample, where the output is not finite.
    """
    probabilities: list[NDArray[np.float32]] = []
    maps: dict[tuple[Method, Target], list[NDArray[np.float32]]] = {(m, t): [] for m in methods for t in targets}
    package = not (closed_form.holds(model, evaluation.layer) and set(methods) <= {"grad_cam"})
    for at, batch in _batches(model, source, evaluation, package):
        probabilities.append(_probabilities(batch.outputs.logits, source.inputs.patches.ids[at]))
        predicted, labels = probabilities[-1].argmax(axis=1), source.inputs.patches.labels[at]
        wrong = np.flatnonzero(predicted != labels)
        for method in methods:
            found = batch.maps(method, np.arange(len(at)), predicted)
            for target in targets:
                maps[method, target].append(found.copy())
            if "true" in targets and len(wrong):
                maps[method, "true"][-1][wrong] = batch.maps(method, wrong, labels[wrong])
        advance(len(at))
    joined = _joined(probabilities, (0, model.head.out_features))
    predictions = joined.argmax(axis=1).astype(np.int64)
    return Explained(joined, predictions, {key: _joined(parts, (0, 1, 1)) for key, parts in maps.items()})


def grad_cam(
    model: Classifier, source: Source, classes: NDArray[np.int64], evaluation: EvaluationConfig
) -> NDArray[np.float32]:
    """Unscaled Grad-CAM maps float32 [n, h, w] of the source's samples, for any classes int64 [n]."""
    parts: list[NDArray[np.float32]] = []
    for at, batch in _batches(model, source, evaluation, package=True):
        start = sum(map(len, parts))
        parts.append(batch.maps("grad_cam", np.arange(len(at)), classes[start : start + len(at)]))
    return _joined(parts, (0, 1, 1))


@dataclass(frozen=True, slots=True, eq=False)
class _Batch:
    """One batch after its forward pass. pixels [n, 3, s, s], None where only the closed form is wanted."""

    model: Classifier
    layer: Layer
    explains: Explains
    pixels: Tensor | None
    outputs: closed_form.LayerOutputs

    def maps(self, method: Method, rows: NDArray[np.int64], classes: NDArray[np.int64]) -> NDArray[np.float32]:
        """Unscaled maps [k, h, w] of the samples at positions `rows` [k] of the batch, for classes [k]."""
        chosen = torch.from_numpy(rows).to(self.outputs.layer.device)
        if method == "grad_cam" and closed_form.holds(self.model, self.layer):
            labels = torch.from_numpy(classes).to(chosen.device)
            maps = closed_form.grad_cam(self.model, self.layer, self.outputs.rows(chosen), labels, self.explains)
            closed: NDArray[np.float32] = maps.cpu().numpy()
            return closed
        assert self.pixels is not None, "the package starts from pixels"
        return METHODS[method].maps(
            self.model, self.pixels[chosen], classes, self.model.map_block(self.layer), self.explains
        )


def _batches(
    model: Classifier, source: Source, evaluation: EvaluationConfig, package: bool
) -> Iterator[tuple[NDArray[np.int64], _Batch]]:
    """Positions int64 [n] of a batch's samples in the inputs, and the batch. package: whether pixels are needed."""
    inputs, stem, layer = source.inputs, source.stem, evaluation.layer
    model = model.to(inputs.device).eval()
    many = len(source.rows) > MANY
    fast = closed_form.fast(model, layer) if many else model.to(memory_format=torch.channels_last)
    for start in range(0, len(source.rows), BATCH):
        at = np.asarray(source.rows[start : start + BATCH], dtype=np.int64)
        pixels = inputs(at.tolist()) if package or stem is None else None
        if stem is not None:
            features = stem[torch.from_numpy(at)].to(inputs.device).float()
            outputs = closed_form.forward(fast, layer, _channels_last(features), "stem")
        else:
            assert pixels is not None
            outputs = closed_form.forward(fast, layer, _channels_last(pixels))
        yield at, _Batch(model, layer, evaluation.explains, pixels, outputs)


def _channels_last(images: Tensor) -> Tensor:
    return images.contiguous(memory_format=torch.channels_last)


def _joined(parts: list[NDArray[np.float32]], empty: tuple[int, ...]) -> NDArray[np.float32]:
    return np.concatenate(parts) if parts else np.zeros(empty, dtype=np.float32)


def _probabilities(logits: Tensor, ids: NDArray[np.int64]) -> NDArray[np.float32]:
    probabilities: NDArray[np.float32] = torch.softmax(logits.double(), dim=1).float().cpu().numpy()
    bad = ~np.isfinite(probabilities).all(axis=1)
    if bad.any():
        raise EvaluationError(
            f"the model's output for patch {ids[bad][0]} is not finite ({bad.sum()} of {len(ids)} in its batch): "
            "its weights hold NaN or infinite values, or the patch's statistics have no spread; train the run again"
        )
    return probabilities
