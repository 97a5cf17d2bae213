"""A trained network for use elsewhere: torchvision's names for its weights, and ONNX."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from lesionlens.config.training import Backbone
from lesionlens.errors import one_line
from lesionlens.models.backbones import BACKBONES
from lesionlens.models.classifier import Classifier

HEADS = {"vgg": "classifier", "resnet": "fc", "efficientnet": "classifier.1"}
"""Where torchvision's networks hold their linear layer. VGG's three are one here, behind an average over all places."""
LOADING = {
    "vgg": "net = torchvision.models.{name}(); net.avgpool = torch.nn.AdaptiveAvgPool2d(1); "
    "net.classifier = torch.nn.Linear({width}, {classes})",
    "resnet": "net = torchvision.models.{name}(num_classes={classes})",
    "efficientnet": "net = torchvision.models.{name}(num_classes={classes})",
}
OPSET = 18


def torchvision_state(model: Classifier) -> dict[str, Tensor]:
    """The model's weights under the names that torchvision's network has for them, on the CPU.

    ValueError for a model with prototypes, which torchvision has none of.
    """
    if "pool" in model.blocks:
        raise ValueError(
            "a model with prototypes has no counterpart in torchvision: open it in Python with lesionlens.load_run"
        )
    ours, theirs = _names(model.backbone)  # type: ignore[arg-type]
    state = model.state_dict()
    head = HEADS[_family(model.backbone)]
    named = {theirs[place]: state[name] for name, place in ours.items() if place in theirs}
    named |= {f"{head}.{kind}": state[f"head.{kind}"] for kind in ("weight", "bias")}
    return {name: tensor.detach().cpu().contiguous() for name, tensor in named.items()}


def loading(model: Classifier) -> list[str]:
    """Lines of Python that load the weights into torchvision's own network, in evaluation mode."""
    line = LOADING[_family(model.backbone)].format(
        name=model.backbone, width=model.head.in_features, classes=model.head.out_features
    )
    return ["import torch, torchvision, safetensors.torch", line,
            "net.load_state_dict(safetensors.torch.load_file('weights.safetensors'))", "net.eval()"]  # fmt: skip


def write_onnx(model: Classifier, path: Path, size: int) -> None:
    """The model as ONNX: input `pixels` float32 [n, 3, size, size], normalised; output `logits` float32 [n, classes].

    ImportError, which says what to install, where the exporter's packages are missing.
    """
    try:
        import onnx  # noqa: F401
        import onnxscript  # noqa: F401
    except ImportError as error:
        raise ImportError(
            f"{error.name} is not installed: pip install 'lesionlens[onnx]', or leave ONNX out"
        ) from error
    batch: Any = torch.export.Dim("n", min=1, max=4096)
    pixels = torch.zeros(2, 3, size, size)
    plain = model.cpu().eval().to(memory_format=torch.contiguous_format)
    torch.onnx.export(
        plain, (pixels,), str(path), input_names=["pixels"], output_names=["logits"], opset_version=OPSET,
        dynamic_shapes=({0: batch},), dynamo=True, external_data=False, verbose=False,
    )  # fmt: skip


def _family(backbone: str) -> str:
    return next(family for family in HEADS if backbone.startswith(family))


def _names(backbone: Backbone) -> tuple[dict[str, int], dict[int, str]]:
    """Where every tensor of a model and of torchvision's network lies: the model is cut from the same modules."""
    make: Callable[[], nn.Module] = BACKBONES[backbone].make
    network = make()
    theirs = {id(tensor): name for name, tensor in network.state_dict(keep_vars=True).items()}
    ours = Classifier(backbone, BACKBONES[backbone].cut(network), 2).state_dict(keep_vars=True)
    missing = [name for name, tensor in ours.items() if id(tensor) not in theirs and not name.startswith("head.")]
    if missing:
        raise ValueError(one_line(f"torchvision's {backbone} has no tensor for {', '.join(missing[:3])}"))
    return {name: id(tensor) for name, tensor in ours.items()}, theirs
