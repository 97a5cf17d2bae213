"""Backbones by name: torchvision's networks cut into stem, unit2 and unit1. A new one is an entry of BACKBONES and its
name in `config.Backbone`.

| backbone        | stem (frozen)                | unit2             | unit1               | last convolution     |
|-----------------|------------------------------|-------------------|---------------------|----------------------|
| vgg*            | blocks 1 to 3                | block 4           | block 5             | last of block 5      |
| resnet*         | conv1, layer1, layer2        | layer3            | layer4              | last of layer4[-1]   |
| efficientnet_b0 | features 0 to 4 (8 of 16 MB) | features 5 and 6  | features 7 and 8    | features[8][0]       |

In VGG the max pooling that ends a block belongs to that block, except the last one, which opens the global pooling. So
in every network the output of unit1 is the last block after its activation, at 1/16 (VGG) or 1/32 of the input's side.
"""

from collections import OrderedDict
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, Literal, cast

import torch
from torch import Tensor, nn
from torchvision import models
from torchvision.models import vgg
from torchvision.models.efficientnet import MBConv, MBConvConfig
from torchvision.models.resnet import Bottleneck
from torchvision.ops import Conv2dNormActivation

from lesionlens.config.training import Backbone, RunConfig, Top, TrainingConfig
from lesionlens.models.classifier import Classifier, EachView, Head, Trunk
from lesionlens.models.prototypes import with_prototypes


def cut_vgg(network: Any) -> Trunk:
    """No ReLU works in place: it would overwrite what a hook on the convolution before it has seen."""
    blocks: list[list[nn.Module]] = [[]]
    for module in network.features:
        blocks[-1].append(nn.ReLU() if isinstance(module, nn.ReLU) else module)
        if isinstance(module, nn.MaxPool2d):
            blocks.append([])
    *unit1, pooling = blocks[4]
    last = max(i for i, module in enumerate(unit1) if isinstance(module, nn.Conv2d))
    width = cast(nn.Conv2d, unit1[last]).out_channels
    stem = nn.Sequential(*blocks[0], *blocks[1], *blocks[2])
    pool = nn.Sequential(pooling, nn.AdaptiveAvgPool2d(1), nn.Flatten())
    return Trunk(stem, nn.Sequential(*blocks[3]), nn.Sequential(*unit1), pool, str(last), width)


def cut_resnet(network: Any) -> Trunk:
    names = ("conv1", "bn1", "relu", "maxpool", "layer1", "layer2")
    stem = nn.Sequential(OrderedDict((name, getattr(network, name)) for name in names))
    last = len(network.layer4) - 1
    conv = "conv3" if hasattr(network.layer4[last], "conv3") else "conv2"
    return Trunk(stem, network.layer3, network.layer4, _average(), f"{last}.{conv}", network.fc.in_features)


def cut_efficientnet(network: Any) -> Trunk:
    features = network.features
    unit1 = nn.Sequential(*features[7:])
    return Trunk(features[:5], nn.Sequential(*features[5:7]), unit1, _average(), "1.0", features[8].out_channels)


def with_top(trunk: Trunk, top: Top, seed: int) -> Trunk:
    """The trunk with a top of random weights between unit1 and its pooling; VGG's last max pooling opens it.

    residual: two stages of two bottlenecks (1x1 512, 3x3 512, 1x1 1024), the stride of 2 in the first 3x3 of each
    (Shen et al. 2019 have it in the 1x1 before). vgg: two of a 3x3 convolution of 512, batch normalisation, ReLU and
    2x2 max pooling (the same). mbconv: two MBConv blocks of stride 2, expansion 2 and squeeze 1/4 (Petrini et al.
    2022). two_views: each film of a pair, one above the other in a sample, goes through the trunk by itself, and MBConv
    blocks see the maps of both, joined by channel (the same).
    """
    if top == "none":
        return trunk
    before: list[nn.Module] = [module for module in trunk.pool.children() if isinstance(module, nn.MaxPool2d)]
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        made, width = TOPS[top](trunk.width)
    if top == "two_views":
        stem, unit2, unit1 = (EachView(block) for block in (trunk.stem, trunk.unit2, trunk.unit1))
        trunk, before = replace(trunk, stem=stem, unit2=unit2, unit1=unit1), [SideBySide(), *before]
    return replace(trunk, top=nn.Sequential(*before, *made), pool=_average(), width=width)


def _residual(width: int) -> tuple[list[nn.Module], int]:
    made: list[nn.Module] = []
    for _ in range(2):
        side = nn.Sequential(nn.Conv2d(width, 1024, 1, 2, bias=False), nn.BatchNorm2d(1024))
        made += [Bottleneck(width, 256, 2, side, base_width=128), Bottleneck(1024, 256, base_width=128)]
        width = 1024
    for module in [m for part in made for m in part.modules() if isinstance(m, nn.Conv2d)]:
        nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
    return made, width


def _convolutions(width: int) -> tuple[list[nn.Module], int]:
    made: list[nn.Module] = []
    for given in (width, 512):
        made += [Conv2dNormActivation(given, 512, inplace=False), nn.MaxPool2d(2)]
    return made, 512


def _mbconv(width: int) -> tuple[list[nn.Module], int]:
    block = MBConvConfig(2, 3, 2, width, width, 1)
    return [MBConv(block, 0.0, nn.BatchNorm2d) for _ in range(2)], width


class SideBySide(nn.Module):
    """Maps [n, c, 2 h, w] of two films, one above the other, as [n, 2 c, h, w]."""

    def forward(self, maps: Tensor) -> Tensor:
        """The upper film's channels come first."""
        return torch.cat(maps.chunk(2, dim=2), dim=1)


TOPS: dict[Top, Callable[[int], tuple[list[nn.Module], int]]] = {
    "residual": _residual,
    "vgg": _convolutions,
    "mbconv": _mbconv,
    "two_views": lambda width: _mbconv(2 * width),
}


def _average() -> nn.Module:
    return nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten())


def vgg_features(config: str, batch_norm: bool) -> nn.Module:
    """VGG with torchvision's initialisation, without its fully connected layers: 120 million weights not used here."""
    layers = vgg.make_layers(vgg.cfgs[config], batch_norm=batch_norm)
    for module in layers:
        if isinstance(module, nn.Conv2d):
            nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
            nn.init.zeros_(cast(Tensor, module.bias))
    return nn.Sequential(OrderedDict(features=layers))


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
