"""Weights under timm's and Keras' names: every tensor of a network comes to its place."""

import re

import pytest
import torch
from torch import Tensor
from torchvision import models

from lesionlens.models.backbones import BACKBONES, trunk_state
from lesionlens.models.names import best_fit, unwrapped


def filled(backbone: str) -> dict[str, Tensor]:
    """A network's weights without its head, all different."""
    generator = torch.Generator().manual_seed(0)
    state = {name: t for name, t in trunk_state(backbone).items() if not name.endswith("num_batches_tracked")}
    return {name: torch.rand(tensor.shape, generator=generator) for name, tensor in state.items()}


def timm_efficientnet(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """Names as timm publishes them, written the other way round than the mapping: by the order of layers."""
    ends = {"features.0.0": "conv_stem", "features.0.1": "bn1", "features.8.0": "conv_head", "features.8.1": "bn2"}
    first = ["conv_dw", "bn1", "se.conv_reduce", "se.conv_expand", "conv_pw", "bn2"]
    later = ["conv_pw", "bn1", "conv_dw", "bn2", "se.conv_reduce", "se.conv_expand", "conv_pwl", "bn3"]
    named: dict[str, str] = dict(ends)
    for stage in range(1, 8):
        for block in range(16):
            begin = f"features.{stage}.{block}.block."
            layers = list(dict.fromkeys(name.rpartition(".")[0] for name in state if name.startswith(begin)))
            parts = first if stage == 1 else later
            named |= (
                {layer: f"blocks.{stage - 1}.{block}.{part}" for layer, part in zip(layers, parts, strict=bool(layers))}
                if layers
                else {}
            )
    return {f"{named[name.rpartition('.')[0]]}.{name.rpartition('.')[2]}": tensor for name, tensor in state.items()}


KERAS_WORDS = {"weight": "gamma", "bias": "beta", "running_mean": "moving_mean", "running_var": "moving_variance"}


def keras_resnet50(state: dict[str, Tensor]) -> dict[str, Tensor]:
    found = {}
    for name, tensor in state.items():
        layer, _, parameter = name.rpartition(".")
        stage = re.fullmatch(r"layer(\d)\.(\d)\.(?:(conv|bn)(\d)|downsample\.(\d))", layer)
        if stage is None:
            own = f"conv1_{layer.removesuffix('1')}"
        else:
            kind, number = (stage[3], stage[4]) if stage[3] else (("conv", "bn")[int(stage[5])], "0")
            own = f"conv{int(stage[1]) + 1}_block{int(stage[2]) + 1}_{number}_{kind}"
        if own.endswith("conv"):
            found[f"{own}/kernel:0"] = tensor.permute(2, 3, 1, 0)
            found[f"{own}/bias:0"] = torch.full((len(tensor),), 0.25)
        else:
            found[f"{own}/{KERAS_WORDS[parameter]}:0"] = tensor
    return found


def keras_efficientnet(state: dict[str, Tensor], depthwise: str) -> dict[str, Tensor]:
    """Layers in Keras' order, named by stage and letter; depthwise: what the version calls the kernel of one."""
    named = {
        "features.0.0": "stem_conv",
        "features.0.1": "stem_bn",
        "features.8.0": "top_conv",
        "features.8.1": "top_bn",
    }
    parts = ["expand_conv", "expand_bn", "dwconv", "bn", "se_reduce", "se_expand", "project_conv", "project_bn"]
    for stage in range(1, 8):
        for block in range(4):
            begin = f"features.{stage}.{block}.block."
            layers = list(dict.fromkeys(name.rpartition(".")[0] for name in state if name.startswith(begin)))
            own = parts[len(parts) - len(layers) :]
            named |= dict(zip(layers, (f"block{stage}{'abcd'[block]}_{part}" for part in own), strict=bool(layers)))
    found = {}
    for name, tensor in state.items():
        layer, _, parameter = name.rpartition(".")
        own = named[layer]
        if own.endswith("bn"):
            found[f"{own}/{KERAS_WORDS[parameter]}"] = tensor
        elif parameter == "bias":
            found[f"{own}/bias"] = tensor
        elif own.endswith("dwconv"):
            found[f"{own}/{depthwise}"] = tensor.permute(2, 3, 0, 1)
        else:
            found[f"{own}/kernel"] = tensor.permute(2, 3, 1, 0)
    return found


def keras_vgg(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """Converted already: torch's axes and words, Keras' layers."""
    layers = list(dict.fromkeys(name.rpartition(".")[0] for name in state))
    convs = [f"block{b}_conv{c}" for b, n in enumerate((2, 2, 3, 3, 3), 1) for c in range(1, n + 1)]
    named = dict(zip(layers, convs, strict=True))
    return {f"{named[name.rpartition('.')[0]]}.{name.rpartition('.')[2]}": tensor for name, tensor in state.items()}


@pytest.mark.parametrize("backbone", list(BACKBONES))
def test_torchvisions_own_names_fit_whatever_wraps_them(backbone: str) -> None:
    state = filled(backbone)
    fit = best_fit(
        {f"model.backbone.{name}": tensor for name, tensor in state.items()}, trunk_state(backbone), backbone
    )
    assert (fit.scheme, fit.missing, fit.shapes, fit.unused) == ("torchvision", [], [], [])
    assert all(torch.equal(fit.state[name], tensor) for name, tensor in state.items())


@pytest.mark.parametrize(
    ("backbone", "scheme", "renamed"),
    [("efficientnet_b0", "timm", timm_efficientnet), ("vgg16", "Keras", keras_vgg)],
)
def test_every_tensor_finds_its_place(backbone: str, scheme: str, renamed) -> None:
    state = filled(backbone)
    fit = best_fit(renamed(state) | {"head.weight": torch.zeros(2, 2)}, trunk_state(backbone), backbone)
    assert (fit.scheme, fit.missing, fit.shapes, fit.unused) == (scheme, [], [], ["head.weight"])
    assert fit.state.keys() == state.keys()
    assert all(torch.equal(fit.state[name], tensor) for name, tensor in state.items())


def test_keras_axes_are_turned_and_biases_of_convolutions_kept() -> None:
    state = filled("resnet50")
    fit = best_fit(keras_resnet50(state), trunk_state("resnet50"), "resnet50")
    assert (fit.scheme, fit.missing, fit.shapes) == ("Keras", [], [])
    for name, tensor in state.items():
        expected = tensor - 0.25 if name.endswith("running_mean") else tensor
        expected = expected + 1e-8 if name.endswith("running_var") else expected
        torch.testing.assert_close(fit.state[name], expected)


@pytest.mark.parametrize("depthwise", ["kernel", "depthwise_kernel"])
def test_keras_efficientnet_keeps_depthwise_kernels_and_its_epsilon(depthwise: str) -> None:
    state = filled("efficientnet_b0")
    wanted = trunk_state("efficientnet_b0")
    fit = best_fit(keras_efficientnet(state, depthwise), wanted, "efficientnet_b0")
    assert (fit.scheme, fit.missing, fit.shapes, fit.unused) == ("Keras", [], [], [])
    for name, tensor in state.items():
        expected = tensor + 1e-3 - 1e-5 if name.endswith("running_var") else tensor
        torch.testing.assert_close(fit.state[name], expected)


def test_what_does_not_fit_is_told_by_name_and_shape() -> None:
    state = filled("resnet18")
    del state["layer1.0.bn1.weight"]
    state["conv1.weight"] = state["conv1.weight"][:, :1]
    fit = best_fit(state, trunk_state("resnet18"), "resnet18")
    assert fit.missing == ["layer1.0.bn1.weight"]
    assert fit.shapes == [("conv1.weight", [64, 1, 7, 7], [64, 3, 7, 7])]
    assert "1 are missing (first layer1.0.bn1.weight)" in str(fit)


def test_a_state_dict_is_found_in_what_a_checkpoint_holds() -> None:
    state = models.resnet18(weights=None).state_dict()
    assert unwrapped({"model": {"state_dict": state}, "epoch": 1}).keys() == state.keys()
    with pytest.raises(ValueError, match="no state dict"):
        unwrapped([1, 2])
