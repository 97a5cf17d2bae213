"""Raw activation-map grids by the `grad-cam` package, the reference for every method.

The package's own forward pass, hooks and channel weighting run unchanged. Replaced are only

* the two steps after it, `compute_cam_per_layer` and `aggregate_multi_layers`, which cut negative values, upsample and
  min-max scale every map and so decide every thresholded IoU unseen: here they return the weighted sum as it is.
* Eigen-CAM's sign. That of a singular vector is arbitrary, so half of the maps could be their own negatives. Here a map
  rises with the summed activation, as the first component of activations that are not centred does by itself.
* Ablation-CAM's ablated channel. It is zero, as in its paper (Desai and Ramaswamy 2020). The package takes the minimum
  less 1e7 where some activation is negative, and lets that grow with a channel's place in its batch.
* Score-CAM's batch. One image at a time: the package holds one masked image per channel, 40 GB for 32 images of 224 x
  224 and ResNet50's 2048 channels, and its hooks would keep the activations of every one of them.
"""

import contextlib
import io
from collections.abc import Iterator
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from pytorch_grad_cam import AblationCAM, EigenCAM, GradCAM, GradCAMPlusPlus, HiResCAM, LayerCAM, ScoreCAM
from pytorch_grad_cam.ablation_layer import AblationLayer
from pytorch_grad_cam.utils.model_targets import ClassifierOutputTarget
from torch import Tensor, nn

from lesionlens.config import Method


class _Raw:
    """Placed before one of the package's classes: the grid of the one target layer, unscaled."""

    activations_and_grads: Any
    target_layers: list[nn.Module]

    def compute_cam_per_layer(self, inputs: Tensor, targets: Any, eigen_smooth: bool) -> list[NDArray[np.float32]]:
        seen = self.activations_and_grads
        activations = seen.activations[0].numpy()
        gradients = seen.gradients[0].numpy() if seen.gradients else None
        seen.release()  # some methods run the model again, once per channel: nothing of that is to be kept
        layer = self.target_layers[0]
        return [self.get_cam_image(inputs, layer, targets, activations, gradients, eigen_smooth)]  # type: ignore[attr-defined]

    def aggregate_multi_layers(self, grids: list[NDArray[np.float32]]) -> NDArray[np.float32]:
        return grids[0]


class _RawGradCAM(_Raw, GradCAM):  # type: ignore[misc]
    pass


class _RawGradCAMPlusPlus(_Raw, GradCAMPlusPlus):  # type: ignore[misc]
    pass


class _RawHiResCAM(_Raw, HiResCAM):  # type: ignore[misc]
    pass


class _RawLayerCAM(_Raw, LayerCAM):  # type: ignore[misc]
    pass


class _RawEigenCAM(_Raw, EigenCAM):  # type: ignore[misc]
    def get_cam_image(
        self, inputs: Tensor, layer: nn.Module, targets: Any, activations: NDArray[np.float32], *rest: Any
    ) -> NDArray[np.float32]:
        grids: NDArray[np.float32] = super().get_cam_image(inputs, layer, targets, activations, *rest)
        total = activations.sum(axis=1)
        rising = (grids * (total - total.mean(axis=(1, 2), keepdims=True))).sum(axis=(1, 2), keepdims=True)
        return np.where(rising < 0, -grids, grids)


class _RawScoreCAM(_Raw, ScoreCAM):  # type: ignore[misc]
    pass


class _RawAblationCAM(_Raw, AblationCAM):  # type: ignore[misc]
    pass


class _Zeroed(AblationLayer):  # type: ignore[misc]
    """Stands in for the explained layer: its activations with one channel of each copy set to zero."""

    def __call__(self, _inputs: Tensor) -> Tensor:
        output: Tensor = self.activations
        copies = len(output)
        output[torch.arange(copies), torch.from_numpy(self.indices[:copies]).long()] = 0
        return output


METHODS: dict[Method, Any] = {
    "grad_cam": _RawGradCAM,
    "grad_cam_pp": _RawGradCAMPlusPlus,
    "hires_cam": _RawHiResCAM,
    "layer_cam": _RawLayerCAM,
    "eigen_cam": _RawEigenCAM,
    "score_cam": _RawScoreCAM,
    "ablation_cam": _RawAblationCAM,
}


def reference_grids(
    model: nn.Module, layer: nn.Module, inputs: Tensor, classes: NDArray[np.int64], method: Method
) -> NDArray[np.float32]:
    """Raw grids of one batch by the package.

    inputs float32 [n, 3, s, s], on the model's device; classes int64 [n], the class explained for each sample ->
    float32 [n, rows, cols], before ReLU, upsampling and scaling. The layer's output must not be overwritten in place
    by what follows it. The model's gradients are cleared. Raises ValueError where the method is unknown.
    """
    if method not in METHODS:
        raise ValueError(f"no activation-map method {method!r}: choose one of {', '.join(METHODS)}")
    # A network that is frozen whole has no gradient unless its input asks for one.
    inputs = inputs.detach().clone().requires_grad_()
    targets = [ClassifierOutputTarget(int(label)) for label in classes]
    batch = 1 if method == "score_cam" else len(inputs)
    parts = []
    for start in range(0, len(inputs), batch):
        with _package(method, model, layer) as cam:
            parts.append(cam(inputs[start : start + batch], targets[start : start + batch]))
    model.zero_grad(set_to_none=True)
    return np.concatenate(parts).astype(np.float32)


@contextlib.contextmanager
def _package(method: Method, model: nn.Module, layer: nn.Module) -> Iterator[Any]:
    """The package's object; hooks removed at the end, its progress bars silenced.

    Its own `with` is not used: it prints an IndexError and goes on as if nothing had happened.
    """
    options = {"ablation_layer": _Zeroed()} if method == "ablation_cam" else {}
    cam = METHODS[method](model=model, target_layers=[layer], **options)
    try:
        with contextlib.redirect_stderr(io.StringIO()):
            yield cam
    finally:
        cam.activations_and_grads.release()
