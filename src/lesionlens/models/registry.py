"""Backbones by name. A new one is an entry here and its name in `config.Backbone`."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torchvision import models

from lesionlens.config.training import Backbone, RunConfig, Top, TrainingConfig
from lesionlens.models.backbones import cut_efficientnet, cut_resnet, cut_vgg, vgg_features, with_top
from lesionlens.models.classifier import Classifier, Head, Trunk
from lesionlens.models.prototypes import with_prototypes


@dataclass(frozen=True, slots=True)
class Architecture:
    """make: torchvision's network with random weights; cut: its blocks; family: whose rule of learning rates holds."""

    make: Callable[[], nn.Module]
    cut: Callable[[Any], Trunk]
    family: Literal["vgg", "resnet"]


BACKBONES: dict[Backbone, Architecture] = {
    "vgg16": Architecture(partial(vgg_features, "D", False), cut_vgg, "vgg"),
    "vgg19": Architecture(partial(vgg_features, "E", False), cut_vgg, "vgg"),
    "vgg11_bn": Architecture(partial(vgg_features, "A", True), cut_vgg, "vgg"),
    "resnet34": Architecture(models.resnet34, cut_resnet, "resnet"),
    "resnet50": Architecture(models.resnet50, cut_resnet, "resnet"),
    "resnet18": Architecture(models.resnet18, cut_resnet, "resnet"),
    "efficientnet_b0": Architecture(models.efficientnet_b0, cut_efficientnet, "resnet"),
}


HEADS = ("fc.", "classifier.")


def trunk_state(backbone: Backbone) -> dict[str, Tensor]:
    """Names, shapes and types of a network's weights without its head, on no device."""
    with torch.device("meta"):
        state: dict[str, Tensor] = BACKBONES[backbone].make().state_dict()
    return {name: tensor for name, tensor in state.items() if not name.startswith(HEADS)}


def network(
    run: RunConfig, training: TrainingConfig, classes: int, pretrained: Mapping[str, Tensor] | None = None
) -> Classifier:
    """The run's network with random weights from its seed, in evaluation mode on the CPU; `pretrained` as `build`."""
    made = build(run.backbone, classes, run.seed, pretrained, training.top)
    if isinstance(made.head, Head):
        made.head.dropout = training.dropout
    return with_prototypes(made, classes, training.prototypes, run.seed) if run.system == "prototype" else made


def build(
    backbone: str, classes: int, seed: int, pretrained: Mapping[str, Tensor] | None = None, top: Top = "none"
) -> Classifier:
    """The network of that name, for films with a top, with random weights from `seed`, in evaluation mode on the CPU.

    Initialised by torchvision's own rules (Kaiming); `pretrained`, a state dict of torchvision's network, replaces all
    but head and top. The global random state is left as it was.
    Raises ValueError for an unknown name or a state dict that does not fit.
    """
    if backbone not in BACKBONES:
        raise ValueError(f"no backbone {backbone!r}: choose one of {', '.join(BACKBONES)}")
    architecture = BACKBONES[backbone]
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        network = architecture.make()
        if pretrained is not None:
            own = network.state_dict()
            # which an own file may lack: the head, and counters of batches
            spare = {key: own[key] for key in own if key.startswith(HEADS) or key.endswith("num_batches_tracked")}
            wanted = spare | {key: pretrained[key] for key in own if key in pretrained}
            try:
                network.load_state_dict(wanted)
            except RuntimeError as error:
                raise ValueError(f"the pretrained weights do not fit {backbone}: {error}") from error
        return Classifier(backbone, with_top(architecture.cut(network), top, seed), classes).eval()
