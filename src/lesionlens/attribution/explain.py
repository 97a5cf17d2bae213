"""Predictions and raw grids of one model over many patches, in batches."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from lesionlens.attribution import closed_form
from lesionlens.attribution.cam import reference_grids
from lesionlens.config import Method
from lesionlens.models.classifier import Classifier, Layer
from lesionlens.training.inputs import Inputs

Target = Literal["predicted", "true"]
TARGETS: tuple[Target, ...] = ("predicted", "true")
BATCH = 32


@dataclass(frozen=True, slots=True, eq=False)
class Explained:
    """probabilities float32 [n, classes]; predicted int64 [n]; grids raw float32 [n, rows, cols], by method, target."""

    probabilities: NDArray[np.float32]
    predicted: NDArray[np.int64]
    grids: dict[tuple[Method, Target], NDArray[np.float32]]


def explain(
    model: Classifier,
    inputs: Inputs,
    rows: Sequence[int],
    methods: tuple[Method, ...],
    layer: Layer,
    targets: tuple[Target, ...],
    advance: Callable[[int], None],
    stem: Tensor | None = None,
) -> Explained:
    """Run the model over the patches at positions `rows` of the inputs.

    Grad-CAM in closed form where that holds, everything else by the package. `stem` [patches, c, h, w] holds the
    frozen half's output for all patches of the inputs, where that is known already; `advance` is called with the
    number of samples of every finished batch. Raises ValueError, naming the patch, where the output is not finite.
    """
    device = inputs.device
    model = model.to(device).eval()
    package = not (closed_form.holds(model, layer) and set(methods) <= {"grad_cam"})
    fast = closed_form.fast(model, layer)
    probabilities: list[NDArray[np.float32]] = []
    grids: dict[tuple[Method, Target], list[NDArray[np.float32]]] = {(m, t): [] for m in methods for t in targets}
    for start in range(0, len(rows), BATCH):
        at = np.asarray(rows[start : start + BATCH], dtype=np.int64)
        pixels = inputs(at.tolist()) if package or stem is None else None
        if stem is None:
            outputs = closed_form.forward(fast, layer, _last(inputs(at.tolist()) if pixels is None else pixels))
        else:
            outputs = closed_form.forward(fast, layer, _last(stem[torch.from_numpy(at)].to(device).float()), "stem")
        probabilities.append(_probabilities(outputs.logits, inputs.patches.ids[at]))
        batch = _Batch(model, layer, pixels, outputs, probabilities[-1].argmax(axis=1), inputs.patches.labels[at])
        for method in methods:
            for target, grid in batch.grids(method, targets).items():
                grids[method, target].append(grid)
        advance(len(at))
    everything = _joined(probabilities, (0, model.head.out_features))
    joined = {key: _joined(parts, (0, 1, 1)) for key, parts in grids.items()}
    return Explained(everything, everything.argmax(axis=1).astype(np.int64), joined)


def _last(images: Tensor) -> Tensor:
    return images.contiguous(memory_format=torch.channels_last)


def _joined(parts: list[NDArray[np.float32]], empty: tuple[int, ...]) -> NDArray[np.float32]:
    return np.concatenate(parts) if parts else np.zeros(empty, dtype=np.float32)


def _probabilities(logits: Tensor, ids: NDArray[np.int64]) -> NDArray[np.float32]:
    probabilities: NDArray[np.float32] = torch.softmax(logits.double(), dim=1).float().cpu().numpy()
    bad = ~np.isfinite(probabilities).all(axis=1)
    if bad.any():
        raise ValueError(
            f"the model's output for patch {ids[bad][0]} is not finite ({bad.sum()} of {len(ids)} in its batch): "
            "its weights hold NaN or infinite values, or the patch's statistics have no spread; train the run again"
        )
    return probabilities


@dataclass(frozen=True, slots=True, eq=False)
class _Batch:
    """One batch after its forward pass. pixels are None where only the closed form is wanted."""

    model: Classifier
    layer: Layer
    pixels: Tensor | None
    outputs: closed_form.LayerOutputs
    predicted: NDArray[np.int64]
    labels: NDArray[np.int64]

    def grids(self, method: Method, targets: tuple[Target, ...]) -> dict[Target, NDArray[np.float32]]:
        """By target. The true class is explained anew only where it was not the predicted one."""
        made: dict[Target, NDArray[np.float32]] = {}
        made["predicted"] = self._of(method, np.arange(len(self.labels)), self.predicted)
        if "true" in targets:
            made["true"] = made["predicted"].copy()
            wrong = np.flatnonzero(self.predicted != self.labels)
            if len(wrong):
                made["true"][wrong] = self._of(method, wrong, self.labels[wrong])
        return {target: made[target] for target in targets}

    def _of(self, method: Method, rows: NDArray[np.int64], classes: NDArray[np.int64]) -> NDArray[np.float32]:
        chosen = torch.from_numpy(rows).to(self.outputs.layer.device)
        if method == "grad_cam" and closed_form.holds(self.model, self.layer):
            part = self.outputs.rows(chosen)
            explained = torch.from_numpy(classes).to(chosen.device)
            grids: NDArray[np.float32] = closed_form.grids(self.model, self.layer, part, explained).cpu().numpy()
            return grids
        assert self.pixels is not None, "the package starts from pixels"
        return reference_grids(self.model, self.model.map_block(self.layer), self.pixels[chosen], classes, method)


def grad_cam(
    model: Classifier, inputs: Inputs, rows: Sequence[int], classes: NDArray[np.int64], layer: Layer
) -> NDArray[np.float32]:
    """Raw Grad-CAM grids float32 [n, h, w] of the patches at positions `rows`, for any classes int64 [n]."""
    model = model.to(inputs.device).eval()
    fast = closed_form.fast(model, layer)
    parts = []
    for start in range(0, len(rows), BATCH):
        chosen = classes[start : start + BATCH]
        pixels = inputs(list(rows[start : start + BATCH]))
        batch = _Batch(model, layer, pixels, closed_form.forward(fast, layer, _last(pixels)), chosen, chosen)
        parts.append(batch.grids("grad_cam", ("predicted",))["predicted"])
    return _joined(parts, (0, 1, 1))
