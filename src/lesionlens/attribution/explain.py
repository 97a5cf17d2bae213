"""Predictions and unscaled maps of one model over many samples, in batches."""

from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from lesionlens.attribution import closed_form
from lesionlens.attribution.pixels import copied, grey_of, saliency_of_pass
from lesionlens.attribution.registry import METHODS
from lesionlens.config.evaluation import EvaluationConfig, Explains, Method
from lesionlens.errors import EvaluationError
from lesionlens.models.arithmetic import channels_last
from lesionlens.models.classifier import Classifier, Layer, together
from lesionlens.models.own import Network, OwnNetwork
from lesionlens.training.feature_cache import Stored
from lesionlens.training.inputs import Inputs

Target = Literal["predicted", "true"]
TARGETS: tuple[Target, ...] = ("predicted", "true")
Advance = Callable[[int], None]
"""Called with the number of samples of a finished batch."""
BATCH, REFERENCES = 32, 8
MANY = 64  # samples from which on a faster copy of the network (a tenth of a second) pays


def counter(progress: Callable[[int, int], None] | None, total: int) -> Advance:
    """Adds up what it is called with, and tells `progress` (done, total)."""
    done = 0

    def advance(count: int) -> None:
        nonlocal done
        done += count
        if progress is not None:
            progress(done, total)

    return advance


@dataclass(frozen=True, slots=True, eq=False)
class Source:
    """The samples at positions `rows` of the inputs.

    stored: what frozen blocks make of all samples of the inputs, where it is stored; else None.
    """

    inputs: Inputs
    rows: Sequence[int]
    stored: Stored | None = None


@dataclass(frozen=True, slots=True, eq=False)
class Explained:
    """probabilities float32 [n, classes]; predicted int64 [n]; maps float32 [n, h, w], unscaled, by method and target,
    [k, h, w] of the k samples explained where the method needs many passes."""

    probabilities: NDArray[np.float32]
    predicted: NDArray[np.int64]
    maps: dict[tuple[Method, Target], NDArray[np.float32]]


def explain(
    model: Network,
    source: Source,
    evaluation: EvaluationConfig,
    methods: tuple[Method, ...],
    targets: tuple[Target, ...],
    advance: Advance,
    few: Collection[int] | None = None,
) -> Explained:
    """Predict the source's samples and explain every target by every method.

    Grad-CAM in closed form where that holds, everything else by the packages. The true class is explained anew only
    where it was not the predicted one. few: of the rows those that methods of many passes explain; None for all.
    Raises EvaluationError, naming the sample, where the output is not finite.
    """
    probabilities: list[NDArray[np.float32]] = []
    maps: dict[tuple[Method, Target], list[NDArray[np.float32]]] = {(m, t): [] for m in methods for t in targets}
    for at, batch in _batches(model, source, evaluation, methods):
        probabilities.append(_probabilities(batch.outputs.logits, source.inputs.patches.ids[at]))
        predicted, labels = probabilities[-1].argmax(axis=1), source.inputs.patches.labels[at]
        wanted = np.isin(at, np.fromiter(few, dtype=np.int64)) if few is not None else np.ones(len(at), dtype=np.bool_)
        for method in methods:
            chosen = np.flatnonzero(wanted | (not METHODS[method].many))
            also = chosen[predicted[chosen] != labels[chosen]] if "true" in targets else chosen[:0]
            found = batch.maps(
                method, np.concatenate([chosen, also]), np.concatenate([predicted[chosen], labels[also]])
            )
            for target in targets:
                maps[method, target].append(found[: len(chosen)].copy())
            if len(also):
                maps[method, "true"][-1][np.searchsorted(chosen, also)] = found[len(chosen) :]
        advance(len(at))
    joined = _joined(probabilities, (0, len(source.inputs.patches.classes)))
    predictions = joined.argmax(axis=1).astype(np.int64)
    return Explained(joined, predictions, {key: _joined(parts, (0, 1, 1)) for key, parts in maps.items()})


def reference(model: Network, evaluation: EvaluationConfig) -> Method:
    """The method of baselines and of the randomisation test: Grad-CAM, or where there is no map the headline's."""
    return evaluation.methods[0] if isinstance(model, OwnNetwork) and model.block is None else "grad_cam"


def reference_maps(
    model: Network, source: Source, classes: NDArray[np.int64], evaluation: EvaluationConfig
) -> NDArray[np.float32]:
    """Unscaled maps float32 [n, h, w] of the source's samples by `reference`, for any classes int64 [n]."""
    method = reference(model, evaluation)
    parts: list[NDArray[np.float32]] = []
    for at, batch in _batches(model, source, evaluation, (method,)):
        start = sum(map(len, parts))
        parts.append(batch.maps(method, np.arange(len(at)), classes[start : start + len(at)]))
    return _joined(parts, (0, 1, 1))


def references(inputs: Inputs) -> Tensor:
    """Of every class 8 training samples of other classes, evenly spaced in their order: float32 [classes, 8, 1, s, s].

    Fewer than 8 are repeated; where there is none, the training mean stands for them.
    """
    rows, shape = np.array(inputs.rows("train"), dtype=np.int64), inputs.patches.pixels.shape[1:]
    found = []
    for label in range(len(inputs.patches.classes)):
        others = rows[inputs.patches.labels[rows] != label]
        chosen = others[np.linspace(0, len(others) - 1, REFERENCES).round().astype(np.int64)] if len(others) else []
        grey = inputs(list(map(int, chosen)))[:, :1] if len(others) else torch.zeros(REFERENCES, 1, *shape)
        found.append(grey.to(inputs.device))
    return torch.stack(found)


@dataclass(frozen=True, slots=True, eq=False)
class _Batch:
    """One batch after its forward pass. fast: the model's quick copy, or itself. pixels [n, 3, s, s], None where no
    method wants them; references: as in `Maps`. saliency [n, h, w]: maps of the classes with the highest logits, where
    the forward pass gave them; else None."""

    model: Network
    fast: Network
    evaluation: EvaluationConfig
    pixels: Tensor | None
    references: Tensor | None
    outputs: closed_form.LayerOutputs
    saliency: NDArray[np.float32] | None = None

    def maps(self, method: Method, rows: NDArray[np.int64], classes: NDArray[np.int64]) -> NDArray[np.float32]:
        """Unscaled maps [k, h, w] of the samples at positions `rows` [k] of the batch, for classes [k]."""
        explains, chosen = self.evaluation.explains, torch.from_numpy(rows).to(self.outputs.layer.device)
        way = _way(self.model, self.evaluation.layer, method)
        if not len(rows):
            return np.zeros((0, 1, 1), dtype=np.float32)
        if way == "closed" and isinstance(self.model, Classifier):
            labels, outputs = torch.from_numpy(classes).to(chosen.device), self.outputs.rows(chosen)
            maps = closed_form.grad_cam(self.model, self.evaluation.layer, outputs, labels, explains)
            closed: NDArray[np.float32] = maps.cpu().numpy()
            return closed
        if way == "layer" and isinstance(self.fast, Classifier):
            rest = nn.Sequential(nn.Identity(), self.fast.top, self.fast.pool, self.fast.head).eval()
            return METHODS[method].maps(rest, self.outputs.layer[chosen], classes, rest[0], explains)
        if method == "saliency" and self.saliency is not None:
            found = self.saliency[rows]
            other = np.flatnonzero(self.outputs.logits.argmax(dim=1).cpu().numpy()[rows] != classes)
            if len(other):
                found[other] = self._of_pixels(method, chosen[other], classes[other])
            return found
        return self._of_pixels(method, chosen, classes)

    def _of_pixels(self, method: Method, chosen: Tensor, classes: NDArray[np.int64]) -> NDArray[np.float32]:
        assert self.pixels is not None, "the method starts from pixels"
        block, explains = self.fast.map_block(self.evaluation.layer), self.evaluation.explains
        return METHODS[method].maps(self.fast, self.pixels[chosen], classes, block, explains, self.references)


def _way(model: Network, layer: Layer, method: Method) -> Literal["closed", "layer", "pixels"]:
    """From what a method's maps are made: the closed form, the stored output of the layer, or the whole network.

    A convolution's output does not decide the rest where a residual sum follows it; what follows a layer of a network
    of another make is not known.
    """
    if isinstance(model, OwnNetwork):
        return "pixels"
    if method == "grad_cam" and closed_form.holds(model, layer):
        return "closed"
    return "layer" if METHODS[method].inner and layer == "block" else "pixels"


def _batches(
    model: Network, source: Source, evaluation: EvaluationConfig, methods: tuple[Method, ...]
) -> Iterator[tuple[NDArray[np.int64], _Batch]]:
    """Positions int64 [n] of a batch's samples in the inputs, and the batch."""
    inputs, stored, layer = source.inputs, source.stored, evaluation.layer
    model = model.to(inputs.device).eval()
    fast = model
    if isinstance(model, Classifier):
        many = len(source.rows) > MANY
        fast = closed_form.fast(model, layer) if many else model.to(memory_format=torch.channels_last)
    package = any(_way(model, layer, method) == "pixels" for method in methods)
    others = references(inputs) if "gradient_shap" in methods else None
    size = together(BATCH, inputs.patches.pixels.shape)
    for start in range(0, len(source.rows), size):
        at = np.asarray(source.rows[start : start + size], dtype=np.int64)
        pixels = inputs(at.tolist()) if package or stored is None else None
        saliency = None
        if stored is not None and isinstance(fast, Classifier):
            features = stored.features[torch.from_numpy(at)].to(inputs.device).float()
            outputs = closed_form.forward(fast, layer, channels_last(features), stored.level)
        else:
            assert pixels is not None
            if "saliency" in methods:
                outputs, saliency = predict_with_saliency(fast, layer, pixels, evaluation.explains)
            else:
                outputs = _forward(fast, layer, channels_last(pixels))
        yield at, _Batch(model, fast, evaluation, pixels, others, outputs, saliency)


def predict_with_saliency(
    model: Network, layer: Layer, pixels: Tensor, explains: Explains
) -> tuple[closed_form.LayerOutputs, NDArray[np.float32]]:
    """One pass over pixels [n, 3, s, s] forward and one back: what it gives, and saliency [n, 28, 28] of the classes
    with the highest logits."""
    grey = grey_of(pixels)
    outputs = _forward(model, layer, copied(grey, pixels.shape[1]))
    classes = outputs.logits.argmax(dim=1)
    return outputs.detached(), saliency_of_pass(grey, outputs.logits, classes, explains)


def _forward(model: Network, layer: Layer, pixels: Tensor) -> closed_form.LayerOutputs:
    """One pass, with gradients where the pixels ask for them; of a network of another make the logits alone."""
    if isinstance(model, Classifier):
        return closed_form.forward(model, layer, pixels)
    with torch.set_grad_enabled(pixels.requires_grad):
        logits = model.logits(pixels)
    nothing = logits.new_empty(len(logits), 0)
    return closed_form.LayerOutputs(logits, nothing, nothing)


def _joined(parts: list[NDArray[np.float32]], empty: tuple[int, ...]) -> NDArray[np.float32]:
    known = [part for part in parts if len(part)]
    return np.concatenate(known) if known else np.zeros(empty, dtype=np.float32)


def _probabilities(logits: Tensor, ids: NDArray[np.int64]) -> NDArray[np.float32]:
    probabilities: NDArray[np.float32] = torch.softmax(logits.double(), dim=1).float().cpu().numpy()
    bad = ~np.isfinite(probabilities).all(axis=1)
    if bad.any():
        raise EvaluationError(
            f"the model's output for patch {ids[bad][0]} is not finite ({bad.sum()} of {len(ids)} in its batch): "
            "its weights hold NaN or infinite values, or the patch's statistics have no spread; train the run again"
        )
    return probabilities
