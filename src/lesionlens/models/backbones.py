"""Backbones: a name gives the frozen half, the two units, the head and where activation maps are taken.

Every network is cut into the same five stages (protocol section 6):

| backbone        | stem (frozen)                | unit2             | unit1               | last convolution     |
|-----------------|------------------------------|-------------------|---------------------|----------------------|
| vgg*            | blocks 1 to 3                | block 4           | block 5             | last of block 5      |
| resnet*         | conv1, layer1, layer2        | layer3            | layer4              | last of layer4[-1]   |
| efficientnet_b0 | features 0 to 4 (8 of 16 MB) | features 5 and 6  | features 7 and 8    | features[8][0]       |

In VGG the max pooling that ends a block belongs to that block, except the last one, which opens the pooling
stage. So in every network the output of `unit1` is the last block after its activation, at 1/16 of the patch
side (VGG) or 1/32 (the others). A new backbone is one entry of `BACKBONES`.
"""

from collections import OrderedDict
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any, Literal, cast

import torch
from torch import Tensor, nn
from torchvision import models
from torchvision.models import vgg

Level = Literal["pixels", "stem", "unit2", "pooled"]
Layer = Literal["block", "conv"]
UNITS = ("stem", "unit2", "unit1", "head")


@dataclass(frozen=True, slots=True)
class Stages:
    """The convolutional stages of a network, without its head. `width` is the number of pooled features."""

    stem: nn.Module
    unit2: nn.Module
    unit1: nn.Module
    pool: nn.Module
    last_conv: str
    width: int


@dataclass(frozen=True, slots=True)
class Backbone:
    """One entry of the registry.

    make: builds torchvision's network, randomly initialised. cut: cuts it into stages.
    family: whose rule of learning rates it follows. weights: torchvision's file of ImageNet weights (V1).
    """

    make: Callable[[], nn.Module]
    cut: Callable[[Any], Stages]
    family: Literal["vgg", "resnet"]
    weights: str


class Classifier(nn.Module):
    """A network in five explicit stages: stem, unit2, unit1, pool, head.

    Input float32 [n, 3, s, s]; output logits float32 [n, classes]. `backbone` is its name in the registry,
    `last_conv` names the last convolution inside `unit1`.
    """

    def __init__(self, backbone: str, stages: Stages, classes: int) -> None:
        super().__init__()
        self.backbone = backbone
        self.stem = stages.stem
        self.unit2 = stages.unit2
        self.unit1 = stages.unit1
        self.pool = stages.pool
        self.head = nn.Linear(stages.width, classes)
        self.last_conv = stages.last_conv

    def forward(self, pixels: Tensor) -> Tensor:
        return self.from_level("pixels", pixels)

    def from_level(self, level: Level, x: Tensor) -> Tensor:
        """Logits from the output of a level: pixels, stem, unit2 [n, c, h, w] or pooled [n, c]."""
        for stage in stages_between(self, level, None):
            x = stage(x)
        return x

    def to_level(self, level: Level, pixels: Tensor) -> Tensor:
        """The output of a level for pixels [n, 3, s, s]."""
        x = pixels
        for stage in stages_between(self, "pixels", level):
            x = stage(x)
        return x


_AFTER: dict[str, int] = {"pixels": 0, "stem": 1, "unit2": 2, "pooled": 4}


def stages_between(model: Classifier, start: Level, end: Level | None) -> tuple[nn.Module, ...]:
    """The stages that lead from one level to another; `end` None goes on to the logits."""
    stages = (model.stem, model.unit2, model.unit1, model.pool, model.head)
    return stages[_AFTER[start] : _AFTER[end] if end else None]


def cam_layer(model: Classifier, layer: Layer) -> nn.Module:
    """Where activation maps are taken (protocol section 8).

    block: output of the last block after its activation; conv: the literal last convolution. Both can be
    hooked: nothing writes over their output in place.
    """
    return model.unit1 if layer == "block" else model.unit1.get_submodule(model.last_conv)


def build(name: str, classes: int, seed: int, pretrained: Mapping[str, Tensor] | None = None) -> Classifier:
    """The network of that name, initialised at random from `seed`, in evaluation mode.

    Convolutions by torchvision's own (Kaiming) rules; `pretrained` (a state dict of torchvision's network)
    replaces everything but the head. The global random state is left as it was.
    Raises ValueError for an unknown name or a state dict that does not fit.
    """
    if name not in BACKBONES:
        raise ValueError(f"no backbone {name!r}: choose one of {', '.join(BACKBONES)}")
    backbone = BACKBONES[name]
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        network = backbone.make()
        if pretrained is not None:
            _fill(name, network, pretrained)
        return Classifier(name, backbone.cut(network), classes).eval()


def _fill(name: str, network: nn.Module, pretrained: Mapping[str, Tensor]) -> None:
    wanted = {key: pretrained[key] for key in network.state_dict() if key in pretrained}
    try:
        network.load_state_dict(wanted)
    except RuntimeError as error:
        raise ValueError(f"the pretrained weights do not fit {name}: {error}") from error


def _blocks(features: Iterable[nn.Module]) -> list[list[nn.Module]]:
    """VGG's layers by block, each ending with its max pooling; no ReLU in place."""
    blocks: list[list[nn.Module]] = [[]]
    for module in features:
        # In place, the ReLU would overwrite what a hook on the convolution before it has seen.
        blocks[-1].append(nn.ReLU() if isinstance(module, nn.ReLU) else module)
        if isinstance(module, nn.MaxPool2d):
            blocks.append([])
    return blocks[:-1]


def _cut_vgg(network: Any) -> Stages:
    blocks = _blocks(network.features)
    *last, pooling = blocks[4]
    convolutions = [str(i) for i, module in enumerate(last) if isinstance(module, nn.Conv2d)]
    width = cast(nn.Conv2d, last[int(convolutions[-1])]).out_channels
    stem = nn.Sequential(*blocks[0], *blocks[1], *blocks[2])
    pool = nn.Sequential(pooling, nn.AdaptiveAvgPool2d(1), nn.Flatten())
    return Stages(stem, nn.Sequential(*blocks[3]), nn.Sequential(*last), pool, convolutions[-1], width)


def _cut_resnet(network: Any) -> Stages:
    names = ("conv1", "bn1", "relu", "maxpool", "layer1", "layer2")
    stem = nn.Sequential(OrderedDict((name, getattr(network, name)) for name in names))
    last = len(network.layer4) - 1
    last_conv = f"{last}.conv3" if hasattr(network.layer4[last], "conv3") else f"{last}.conv2"
    return Stages(stem, network.layer3, network.layer4, _average(), last_conv, network.fc.in_features)


def _cut_efficientnet(network: Any) -> Stages:
    features = network.features
    unit1 = nn.Sequential(*features[7:])
    return Stages(features[:5], nn.Sequential(*features[5:7]), unit1, _average(), "1.0", features[8].out_channels)


def _average() -> nn.Module:
    return nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten())


def _vgg_features(config: str, batch_norm: bool) -> nn.Module:
    """VGG without its fully connected block: 120 million weights that nothing here uses."""
    layers = vgg.make_layers(vgg.cfgs[config], batch_norm=batch_norm)
    for module in layers:
        if isinstance(module, nn.Conv2d):
            nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
            nn.init.zeros_(cast(Tensor, module.bias))
    return nn.Sequential(OrderedDict(features=layers))


BACKBONES: dict[str, Backbone] = {
    "vgg16": Backbone(partial(_vgg_features, "D", False), _cut_vgg, "vgg", "vgg16-397923af.pth"),
    "vgg19": Backbone(partial(_vgg_features, "E", False), _cut_vgg, "vgg", "vgg19-dcbb9e9d.pth"),
    "vgg11_bn": Backbone(partial(_vgg_features, "A", True), _cut_vgg, "vgg", "vgg11_bn-6002323d.pth"),
    "resnet34": Backbone(models.resnet34, _cut_resnet, "resnet", "resnet34-b627a593.pth"),
    "resnet50": Backbone(models.resnet50, _cut_resnet, "resnet", "resnet50-0676ba61.pth"),
    "resnet18": Backbone(models.resnet18, _cut_resnet, "resnet", "resnet18-f37072fd.pth"),
    "efficientnet_b0": Backbone(
        models.efficientnet_b0, _cut_efficientnet, "resnet", "efficientnet_b0_rwightman-7f5810bc.pth"
    ),
}
