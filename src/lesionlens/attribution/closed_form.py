"""Grad-CAM without a backward pass, where pooling and one linear layer follow the last block.

Grad-CAM (Selvaraju et al. 2017) weighs channel k of the layer A by the mean of dY/dA_k. With Y = w . pool(z) + b:

* `block`, the output A of the last block: global average pooling gives dY/dA_k = w_k / area everywhere; a max pooling
  in between passes each window's gradient to one pixel, which leaves the mean as it is. The weight is w_k / area.
* `conv`, the last convolution, followed by a batch normalisation in evaluation mode (slope g_k; 1 without one), where
  there is one a residual sum, and ReLU: the gradient passes only where the pooled value is positive. The weight is
  w_k g_k / area times the proportion of positive positions among those that the average pooling sees.

It does not hold where the last activation is no ReLU (EfficientNet) and the layer is `conv`.
"""

import copy
from dataclasses import dataclass
from typing import TypeGuard

import torch
from torch import Tensor, nn
from torch.fx.experimental.optimization import fuse

from lesionlens.config.evaluation import Explains
from lesionlens.models.classifier import Classifier, Layer, Level
from lesionlens.models.prototypes import Prototypes


@dataclass(frozen=True, slots=True, eq=False)
class LayerOutputs:
    """One forward pass: logits [n, classes]; layer [n, c, h, w], output of the explained layer; positive [n, c],
    proportion of positive positions among those averaged (ones for `block`)."""

    logits: Tensor
    layer: Tensor
    positive: Tensor

    def detached(self) -> "LayerOutputs":
        """The same without the graph of gradients behind them."""
        return LayerOutputs(self.logits.detach(), self.layer.detach(), self.positive.detach())

    def rows(self, chosen: Tensor) -> "LayerOutputs":
        """The samples at positions int64 [k]."""
        return LayerOutputs(self.logits[chosen], self.layer[chosen], self.positive[chosen])


def holds(model: nn.Module, layer: Layer) -> TypeGuard[Classifier]:
    """Whether the closed form is Grad-CAM for this network and layer."""
    if not isinstance(model, Classifier) or isinstance(model.pool, Prototypes):
        return False
    if model.has_top:
        return False  # what follows is not linear
    return layer == "block" or not any(isinstance(module, nn.SiLU) for module in model.unit1.modules())


def fast(model: Classifier, layer: Layer) -> Classifier:
    """A copy without gradients of weights, the same up to rounding, about twice as fast on a CPU.

    Batch normalisations are folded into the convolutions before them, except in the block of the last convolution where
    that is explained. Channels are last in memory, as they should be in its inputs.
    """
    made = copy.deepcopy(model).eval()
    made.stem, made.unit2 = fuse(made.stem), fuse(made.unit2)
    if layer == "block":
        made.unit1 = fuse(made.unit1)
    return made.to(memory_format=torch.channels_last).requires_grad_(False)


def forward(model: Classifier, layer: Layer, inputs: Tensor, level: Level = "pixels") -> LayerOutputs:
    """Logits and the explained layer's output from one pass over inputs [n, c, h, w], the output of a level; with
    gradients where the inputs ask for them."""
    with torch.set_grad_enabled(inputs.requires_grad):
        return _outputs(model, layer, inputs, level)


def _outputs(model: Classifier, layer: Layer, inputs: Tensor, level: Level) -> LayerOutputs:
    caught: list[Tensor] = []
    convolution = model.unit1.get_submodule(model.last_conv)
    handle = convolution.register_forward_hook(lambda _module, _inputs, output: caught.append(output))
    try:
        features = inputs
        for block in (*model.between(level, "unit2"), model.unit1):
            features = block(features)
    finally:
        handle.remove()
    pooled = model.pool(model.top(features))
    logits = model.head(pooled)
    if layer == "block":
        return LayerOutputs(logits, features, torch.ones_like(pooled))
    # Pooling the signs of what is averaged: max pooling, where there is one, commutes with the sign of values >= 0.
    return LayerOutputs(logits, caught[0], model.pool((features > 0).to(features.dtype)))


@torch.no_grad()
def grad_cam(
    model: Classifier, layer: Layer, outputs: LayerOutputs, classes: Tensor, explains: Explains = "logit"
) -> Tensor:
    """Unscaled Grad-CAM maps [n, h, w] for classes int64 [n].

    explains: a class's logit, or the contrast, its logit minus the mean of all: what all classes' weights have in
    common changes no prediction, never trains, and would otherwise be in every map.
    """
    weights = model.head.weight[classes]
    if explains == "contrast":
        weights = weights - model.head.weight.mean(dim=0)
    weights = weights * outputs.positive
    if layer == "conv":
        weights = weights * _slope(model)
    area = outputs.layer.shape[2] * outputs.layer.shape[3]
    return torch.einsum("nc,nchw->nhw", weights / area, outputs.layer)


def _slope(model: Classifier) -> Tensor | float:
    """Slope of the batch normalisation after the last convolution, [c]; 1 where there is none."""
    modules = list(model.unit1.modules())
    following = modules[modules.index(model.unit1.get_submodule(model.last_conv)) + 1 :]
    norm = next((module for module in following if isinstance(module, nn.BatchNorm2d)), None)
    if norm is None or norm.running_var is None:
        return 1.0
    return norm.weight / torch.sqrt(norm.running_var + norm.eps)
