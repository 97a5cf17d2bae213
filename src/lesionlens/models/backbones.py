"""torchvision's networks cut into stem, unit2 and unit1.

| backbone        | stem (frozen)                | unit2             | unit1               | last convolution     |
|-----------------|------------------------------|-------------------|---------------------|----------------------|
| vgg*            | blocks 1 to 3                | block 4           | block 5             | last of block 5      |
| resnet*         | conv1, layer1, layer2        | layer3            | layer4              | last of layer4[-1]   |
| efficientnet_b0 | features 0 to 4 (8 of 16 MB) | features 5 and 6  | features 7 and 8    | features[8][0]       |

In VGG the max pooling that ends a block belongs to that block, except the last one, which opens the global pooling. So
in every network the output of unit1 is the last block after its activation, at 1/16 (VGG) or 1/32 of the input's side.
"""

from collections import OrderedDict
from typing import Any, cast

from torch import Tensor, nn
from torchvision.models import vgg

from lesionlens.models.classifier import Trunk


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
