"""Weights under other libraries' names: a state dict as torchvision names it, tried by torchvision's, timm's, Keras'.

timm calls its ResNets and VGGs as torchvision does, and EfficientNet's parts by what they are. Converted from Keras'
applications, layers keep their names (`block1_conv1`, `conv2_block1_1_conv`, `block2a_expand_conv`), with their own
words for parameters (`kernel`, `gamma`, `moving_mean`) and axes in Keras' order, or already in torch's.
"""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from torch import Tensor

WORDS = {
    "kernel": "weight", "depthwise_kernel": "weight", "gamma": "weight", "beta": "bias", "moving_mean": "running_mean",
    "moving_variance": "running_var",
}  # fmt: skip
WRAPPERS = ("state_dict", "model_state_dict", "model", "net")
PREFIXES = ("module.", "model.", "backbone.", "encoder.", "network.", "net.")
VGG_CONVS = {
    "vgg16": (2, 2, 3, 3, 3),
    "vgg19": (2, 2, 4, 4, 4),
}
SEPARABLE = {"conv_dw": "0.0", "bn1": "0.1", "se": "1", "conv_pw": "2.0", "bn2": "2.1"}
INVERTED = {"conv_pw": "0.0", "bn1": "0.1", "conv_dw": "1.0", "bn2": "1.1", "se": "2", "conv_pwl": "3.0", "bn3": "3.1"}
KERAS_PARTS = {
    "expand_conv": "0.0", "expand_bn": "0.1", "dwconv": "1.0", "bn": "1.1", "se_reduce": "2.fc1", "se_expand": "2.fc2",
    "project_conv": "3.0", "project_bn": "3.1",
}  # fmt: skip
KERAS_ENDS = {
    "stem_conv": "features.0.0", "stem_bn": "features.0.1", "top_conv": "features.8.0", "top_bn": "features.8.1",
}  # fmt: skip
EPSILON = 1e-5
"""What torchvision's batch normalisations add to the variance."""
KERAS_EPSILON = {"resnet50": 1.001e-5, "efficientnet_b0": 1e-3}
TIMM_ENDS = {"conv_stem": "features.0.0", "bn1": "features.0.1", "conv_head": "features.8.0", "bn2": "features.8.1"}


@dataclass(frozen=True, slots=True)
class Fit:
    """How a state dict fits a network by one scheme of names. state: what fits; missing: names of the network without a
    tensor; shapes: (name, found, wanted) of those of another shape; unused: names of the file that fit nothing."""

    scheme: str
    state: dict[str, Tensor]
    missing: list[str]
    shapes: list[tuple[str, list[int], list[int]]]
    unused: list[str]

    def __str__(self) -> str:
        parts = [f"{len(self.state)} tensors fit by {self.scheme}'s names"]
        if self.missing:
            parts.append(f"{len(self.missing)} are missing (first {self.missing[0]})")
        if self.shapes:
            name, found, wanted = self.shapes[0]
            parts.append(f"{len(self.shapes)} have another shape (first {name}, {found} for {wanted})")
        if self.unused:
            parts.append(f"{len(self.unused)} are not used (first {self.unused[0]})")
        return ", ".join(parts)


def best_fit(given: Mapping[str, Tensor], wanted: Mapping[str, Tensor], backbone: str) -> Fit:
    """The scheme by which the most tensors of `given` fit `wanted`, the network's state dict without its head."""
    plain = _unprefixed(given)
    schemes: dict[str, Callable[[str], str | None]] = {"torchvision": str, "timm": _timm, "Keras": _keras(backbone)}
    best = max((_fit(name, plain, wanted, rename) for name, rename in schemes.items()), key=lambda fit: len(fit.state))
    if best.scheme == "Keras":  # the larger epsilon of Keras moves into the variance
        for name in best.state:
            if name.endswith("running_var"):
                best.state[name] = best.state[name] + (KERAS_EPSILON.get(backbone, EPSILON) - EPSILON)
    return best


def unwrapped(loaded: object) -> dict[str, Tensor]:
    """The state dict in what a file holds: itself, or under a usual key. ValueError where there is none."""
    for _ in range(2):
        if isinstance(loaded, dict):
            inner = next((loaded[key] for key in WRAPPERS if isinstance(loaded.get(key), dict)), None)
            loaded = loaded if inner is None else inner
    if not isinstance(loaded, dict) or not any(isinstance(value, Tensor) for value in loaded.values()):
        raise ValueError("holds no state dict: save model.state_dict()")
    return {str(name): value for name, value in loaded.items() if isinstance(value, Tensor)}


def _unprefixed(given: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Without the prefixes that all names have: of wrappers of a model."""
    found = dict(given)
    while prefix := next((p for p in PREFIXES if found and all(name.startswith(p) for name in found)), None):
        found = {name.removeprefix(prefix): tensor for name, tensor in found.items()}
    return found


def _fit(
    scheme: str, given: Mapping[str, Tensor], wanted: Mapping[str, Tensor], rename: Callable[[str], str | None]
) -> Fit:
    state: dict[str, Tensor] = {}
    shapes, unused, biases = [], [], {}
    for name, tensor in given.items():
        target = rename(name)
        if target is None or target not in wanted:
            if target is not None and target.endswith(".bias"):
                biases[target] = tensor
            unused.append(name)
            continue
        shaped = _turned(name, tensor)
        if shaped.shape != wanted[target].shape:
            shapes.append((name, list(shaped.shape), list(wanted[target].shape)))
        else:
            state[target] = shaped.to(wanted[target].dtype)
    for target, bias in biases.items():  # a convolution's bias moves the mean of the batch normalisation after it
        norm = re.sub(r"conv(\d)\.bias$", r"bn\1.", target).replace("downsample.0.bias", "downsample.1.")
        mean = f"{norm}running_mean"
        if mean in state and state[mean].shape == bias.shape:
            state[mean] = state[mean] - bias
    counted = [name for name in wanted if not name.endswith("num_batches_tracked")]
    misfits = {rename(name) for name, *_ in shapes}
    missing = [name for name in counted if name not in state and name not in misfits]
    return Fit(scheme, state, missing, shapes, unused)


def _turned(name: str, tensor: Tensor) -> Tensor:
    """Keras keeps kernels as rows, columns, inputs, outputs; depthwise ones, which Keras 3 calls kernels like all
    others, as rows, columns, channels, 1."""
    layer, parameter = re.split(r"[./]", f"/{name.removesuffix(':0')}")[-2:]
    if parameter not in ("kernel", "depthwise_kernel") or tensor.dim() != 4:
        return tensor
    depthwise = parameter == "depthwise_kernel" or layer.endswith("dwconv")
    return tensor.permute(2, 3, 0, 1) if depthwise else tensor.permute(3, 2, 0, 1)


def _timm(name: str) -> str | None:
    """An EfficientNet's name in timm as torchvision's."""
    first, _, last = name.partition(".")
    if first in TIMM_ENDS:
        return f"{TIMM_ENDS[first]}.{last}"
    found = re.fullmatch(r"blocks\.(\d+)\.(\d+)\.(\w+)\.(.+)", name)
    if found is None:
        return None
    stage, block, part, rest = found.groups()
    place = (SEPARABLE if stage == "0" else INVERTED).get(part)
    rest = rest.replace("conv_reduce.", "fc1.").replace("conv_expand.", "fc2.")
    return None if place is None else f"features.{int(stage) + 1}.{block}.block.{place}.{rest}"


def _keras(backbone: str) -> Callable[[str], str | None]:
    convs = VGG_CONVS.get(backbone, ())

    def rename(name: str) -> str | None:
        parts = re.split(r"[./]", name.removesuffix(":0"))
        layer = next((part for part in reversed(parts[:-1])), "")
        parameter = WORDS.get(parts[-1], parts[-1])
        place = _keras_layer(layer, convs)
        return None if place is None else f"{place}.{parameter}"

    return rename


def _keras_layer(layer: str, convs: tuple[int, ...]) -> str | None:
    if layer in KERAS_ENDS:
        return KERAS_ENDS[layer]
    if layer in ("conv1_conv", "conv1_bn"):
        return layer.removeprefix("conv1_").replace("conv", "conv1").replace("bn", "bn1")
    if found := re.fullmatch(r"block(\d)_conv(\d)", layer):
        block, conv = int(found[1]), int(found[2])
        # two layers a convolution, and a pooling after each block
        return f"features.{2 * (sum(convs[: block - 1]) + conv - 1) + block - 1}" if convs else None
    if found := re.fullmatch(r"conv(\d)_block(\d+)_(\d)_(conv|bn)", layer):
        stage, block, number, kind = int(found[1]) - 1, int(found[2]) - 1, found[3], found[4]
        name = f"downsample.{int(kind == 'bn')}" if number == "0" else f"{kind}{number}"
        return f"layer{stage}.{block}.{name}"
    if found := re.fullmatch(r"block(\d)([a-z])_(\w+)", layer):
        stage, block, part = int(found[1]), ord(found[2]) - ord("a"), KERAS_PARTS.get(found[3])
        if part is not None and stage == 1:  # the first stage does not expand
            part = f"{int(part[0]) - 1}{part[1:]}"
        return None if part is None else f"features.{stage}.{block}.block.{part}"
    return None
