"""Class activation maps by the `grad-cam` package, unscaled: the reference for every such method.

The package's forward pass, hooks and channel weighting run unchanged. Replaced are only

* the two steps after it, `compute_cam_per_layer` and `aggregate_multi_layers`, which cut negative values, upsample and
  min-max scale every map and so decide every thresholded IoU unseen: here they return the weighted sum as it is.
* Eigen-CAM's sign. That of a singular vector is arbitrary, so half of the maps could be their own negatives. Here a map
  rises with the summed activation, as the first component of activations that are not centred does by itself.
* Ablation-CAM's ablated channel. It is zero, as in its paper (Desai and Ramaswamy 2020). The package takes the minimum
  less 1e7 where some activation is negative, and lets that grow with a channel's place in its batch.
"""

import contextlib
import io
from collections.abc import Iterator
from typing import Any, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from pytorch_grad_cam import EigenCAM
from pytorch_grad_cam.ablation_layer import AblationLayer
from pytorch_grad_cam.utils.model_targets import ClassifierOutputTarget
from torch import Tensor, nn

from lesionlens.config.evaluation import Explains
from lesionlens.models.classifier import Classifier
from lesionlens.models.prototypes import Prototypes, similarity


class Maps(Protocol):
    """Unscaled maps of samples by one method."""

    def __call__(
        self,
        model: nn.Module,
        inputs: Tensor,
        classes: NDArray[np.int64],
        layer: nn.Module,
        explains: Explains = "logit",
        references: Tensor | None = None,
        /,
    ) -> NDArray[np.float32]:
        """float32 [n, h, w], of inputs float32 [n, c, s, s] on the model's device and classes int64 [n].

        explains: what of the output. references float32 [classes, k, 1, s, s]: samples of other classes than each, for
        methods that compare with such; None: the training mean.
        """


class Contrast(ClassifierOutputTarget):  # type: ignore[misc]
    """A class's logit minus the mean of all."""

    def __call__(self, output: Tensor) -> Tensor:
        logit: Tensor = super().__call__(output)
        return logit - output.mean(dim=-1)


TARGETS: dict[Explains, type[ClassifierOutputTarget]] = {"logit": ClassifierOutputTarget, "contrast": Contrast}


class _Raw:
    """Placed before one of the package's classes: the map of the one target layer, unscaled."""

    activations_and_grads: Any
    target_layers: list[nn.Module]

    def compute_cam_per_layer(self, inputs: Tensor, targets: Any, eigen_smooth: bool) -> list[NDArray[np.float32]]:
        hooks = self.activations_and_grads
        activations = hooks.activations[0].numpy()
        gradients = hooks.gradients[0].numpy() if hooks.gradients else None
        hooks.release()  # some methods run the model again, once per channel: nothing of that is to be kept
        layer = self.target_layers[0]
        return [self.get_cam_image(inputs, layer, targets, activations, gradients, eigen_smooth)]  # type: ignore[attr-defined]

    def aggregate_multi_layers(self, maps: list[NDArray[np.float32]]) -> NDArray[np.float32]:
        return maps[0]


class AscendingEigenCAM(EigenCAM):  # type: ignore[misc]
    """Eigen-CAM with the sign by which a map rises with the summed activation."""

    def get_cam_image(
        self, inputs: Tensor, layer: nn.Module, targets: Any, activations: NDArray[np.float32], *rest: Any
    ) -> NDArray[np.float32]:
        maps: NDArray[np.float32] = super().get_cam_image(inputs, layer, targets, activations, *rest)
        total = activations.sum(axis=1)
        rising = (maps * (total - total.mean(axis=(1, 2), keepdims=True))).sum(axis=(1, 2), keepdims=True)
        return np.where(rising < 0, -maps, maps)


class Zeroed(AblationLayer):  # type: ignore[misc]
    """Stands in for the explained layer: its activations with one channel of each copy set to zero."""

    def __call__(self, _inputs: Tensor) -> Tensor:
        output: Tensor = self.activations
        copies = len(output)
        output[torch.arange(copies), torch.from_numpy(self.indices[:copies]).long()] = 0
        return output


def cam(method: type[Any], one_by_one: bool = False, ablation_layer: type[AblationLayer] | None = None) -> Maps:
    """Unscaled maps by one of the package's classes.

    The layer's output must not be overwritten in place by what follows it. The model's gradients are cleared.
    one_by_one: explain one image at a time. Score-CAM holds one masked image per channel, 40 GB for 32 images of 224 x
    224 and ResNet50's 2048 channels.
    """
    raw = type(f"Raw{method.__name__}", (_Raw, method), {})

    def maps(
        model: nn.Module,
        inputs: Tensor,
        classes: NDArray[np.int64],
        layer: nn.Module,
        explains: Explains = "logit",
        _references: Tensor | None = None,
    ) -> NDArray[np.float32]:
        # A network that is frozen whole has no gradient unless its input asks for one.
        inputs = inputs.detach().clone().requires_grad_()
        targets = [TARGETS[explains](int(label)) for label in classes]
        batch = 1 if one_by_one else len(inputs)
        options = {} if ablation_layer is None else {"ablation_layer": ablation_layer()}
        parts = []
        for start in range(0, len(inputs), batch):
            with _released(raw(model=model, target_layers=[layer], **options)) as package:
                parts.append(package(inputs[start : start + batch], targets[start : start + batch]))
        model.zero_grad(set_to_none=True)
        return np.concatenate(parts).astype(np.float32)

    return maps


@contextlib.contextmanager
def _released(package: Any) -> Iterator[Any]:
    """The package's object; hooks removed at the end, its progress bars silenced.

    Its own `with` is not used: it prints an IndexError and goes on as if nothing had happened.
    """
    try:
        with contextlib.redirect_stderr(io.StringIO()):
            yield package
    finally:
        package.activations_and_grads.release()


@torch.no_grad()
def case_evidence(
    model: nn.Module,
    inputs: Tensor,
    classes: NDArray[np.int64],
    _layer: nn.Module,
    explains: Explains = "logit",
    _references: Tensor | None = None,
) -> NDArray[np.float32]:
    """What prototypes say for a class at every place: the sum of their similarities there times their weights.

    model: one with prototypes, or what follows its unit1, prototypes and head last. ValueError for another.
    """
    features, pool, head = inputs, *list(model.children())[-2:]
    if isinstance(model, Classifier):
        features, pool, head = model.to_level("unit1", inputs), model.pool, model.head
    if not isinstance(pool, Prototypes) or not isinstance(head, nn.Linear):
        raise ValueError(
            "the method prototypes explains models with prototypes alone: choose another, such as grad_cam"
        )
    weights = head.weight[torch.from_numpy(classes).to(features.device)]
    if explains == "contrast":
        weights = weights - head.weight.mean(dim=0)
    found = torch.einsum("np,nphw->nhw", weights * pool.kept, similarity(pool.distances(features)))
    maps: NDArray[np.float32] = found.cpu().numpy()
    return maps
