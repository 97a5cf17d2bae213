"""Anyone's network as a model: what it must give, which module's output its maps explain, its random counterpart."""

from collections import Counter
from collections.abc import Sequence
from copy import deepcopy
from difflib import get_close_matches
from typing import cast

import torch
from torch import Tensor, nn

from lesionlens.config.examination import InputSpec
from lesionlens.models.classifier import Classifier, Layer

TRIED = 3  # images that a network is tried with
TOLERANCE = 1e-2  # between the outputs of an image alone and in a batch, in deviations of the outputs
REMEDY = "name map_block, or choose methods that need none: saliency, smooth_grad, integrated_gradients"


class OwnNetwork(nn.Module):
    """A copy of the network, in evaluation mode, that takes grey values and gives logits in the order of the labels.

    order: for every label the position of its class among the network's outputs. block: the name of the module whose
    output maps explain; None for a network without spatial maps. No activation of the copy works in place, which would
    overwrite what a hook has seen. The network given is not touched. ValueError where it cannot be copied.
    """

    def __init__(self, network: nn.Module, order: Sequence[int], spec: InputSpec, block: str | None = None) -> None:
        super().__init__()
        try:
            self.network = deepcopy(network).eval().requires_grad_(False)
        except (RuntimeError, TypeError) as error:
            raise ValueError(
                f"the model cannot be copied ({_first_line(error)}): build it anew, load its weights"
            ) from error
        self.network.zero_grad(set_to_none=True)
        for module in self.network.modules():
            if getattr(module, "inplace", False) is True:
                module.inplace = False  # type: ignore[assignment]
        self.order, self.channels, self.block = list(order), spec.channels, block
        means, deviations = (torch.tensor(values)[:, None, None] for values in spec.scale)
        self.register_buffer("means", means)
        self.register_buffer("deviations", deviations)

    def logits(self, inputs: Tensor) -> Tensor:
        """Logits float32 [n, labels] of grey values float32 [n, 3, s, s] between 0 and 1, or normalised one by one."""
        scaled = (inputs[:, : self.channels] - cast(Tensor, self.means)) / cast(Tensor, self.deviations)
        found: Tensor = self.network(scaled)
        return found[:, self.order].float()

    forward = logits

    def map_block(self, _layer: Layer) -> nn.Module:
        """The module that maps explain; the network itself, which methods of pixels ignore, where there is none."""
        return self.network if self.block is None else self.network.get_submodule(self.block)

    def steps(self) -> list[list[str]]:
        """Names of modules with parameters from the output inwards, a step for each child of a child."""
        steps: dict[str, list[str]] = {}
        for name, module in self.network.named_modules():
            if name and any(True for _ in module.parameters(recurse=False)):
                steps.setdefault(".".join(name.split(".")[:2]), []).append(f"network.{name}")
        return list(reversed(steps.values()))

    def randomised(self, seed: int) -> "OwnNetwork":
        """The same network with random weights from `seed`, by every module's own rule (`reset_parameters`).

        Other parameters are drawn with the mean and deviation that they have. The global random state stays as it was.
        """
        made, drawn = deepcopy(self), set()
        with torch.random.fork_rng(devices=[]), torch.no_grad():
            torch.manual_seed(seed)
            made.to("cpu")
            for module in made.network.modules():
                reset = getattr(module, "reset_parameters", None)
                if callable(reset):
                    reset()
                    drawn |= {id(parameter) for parameter in module.parameters(recurse=False)}
            for parameter in made.network.parameters():
                if id(parameter) not in drawn and parameter.is_floating_point() and parameter.numel() > 1:
                    parameter.normal_(float(parameter.mean()), float(parameter.std()))
        return made


Network = Classifier | OwnNetwork


def own_network(
    network: nn.Module,
    classes: Sequence[str],
    labels: Sequence[str],
    spec: InputSpec,
    images: Tensor,
    block: str | None,
) -> OwnNetwork:
    """The network as a model, tried on images float32 [n, 3, s, s] between 0 and 1.

    classes: in the order of its outputs; labels: the same in the data set's order. block: as `find_block`. Its maps'
    block is None where the network has none. ValueError, with a remedy, where its output is not one finite logit per
    class, or depends on what else is in the batch, or `block` is no module with a spatial output.
    """
    if not isinstance(network, nn.Module):
        raise ValueError(f"the model is a {type(network).__name__}: give a torch.nn.Module")
    order = [list(classes).index(label) for label in labels]
    made, images = OwnNetwork(network, order, spec), images[:TRIED]
    _check_outputs(made, len(classes), spec, images)
    made.block = find_block(made, images, block)
    return made


def _check_outputs(made: OwnNetwork, classes: int, spec: InputSpec, images: Tensor) -> None:
    with torch.no_grad():
        scaled = (images[:, : spec.channels] - cast(Tensor, made.means)) / cast(Tensor, made.deviations)
        try:
            found = made.network(scaled)
            alone = made.network(scaled[:1])
        except (RuntimeError, ValueError, TypeError, AssertionError, IndexError) as error:
            raise ValueError(
                f"the model does not take images [n, {spec.channels}, {spec.size}, {spec.size}] ({_first_line(error)})"
                ": name what it takes, input=InputSpec(size=..., channels=...)"
            ) from error
    if not isinstance(found, Tensor):
        raise ValueError(
            f"the model gives a {type(found).__name__}: wrap it in a module that gives logits [n, classes]"
        )
    if found.shape != (len(images), classes):
        one = ". Give two logits of one score x: torch.cat([-x, x], dim=1) / 2" if found.shape[1:] == (1,) else ""
        raise ValueError(
            f"the model gives {list(found.shape)} for {len(images)} images, and classes names {classes}: name every "
            f"output, in its order{one}"
        )
    if not torch.isfinite(found).all():
        raise ValueError("the model's output is not finite (NaN or infinite): check its weights and input.normalise")
    if classes > 1 and (found >= 0).all() and torch.allclose(found.sum(dim=1), torch.ones(len(found)), atol=1e-4):
        raise ValueError(
            "the model gives probabilities, which add up to 1: give logits, leave out the softmax at its end"
        )
    if (alone[0] - found[0]).abs().max() > TOLERANCE * max(float(found.std()), 1e-6):
        raise ValueError(
            "the model says something else of an image alone than in a batch, though it is in evaluation mode: every "
            "image must be scored by itself"
        )


def find_block(model: OwnNetwork, images: Tensor, named: str | None = None) -> str | None:
    """The name of the module whose output a map explains: `named`, or the last one with a map before global pooling.

    A map is an output [n, channels, rows, columns] of more than one cell, square for square images, on which the
    logits depend; its module holds a convolution and runs once. None where there is none, or where tokens follow it,
    as in transformers. ValueError where `named` is no such module.
    """
    outputs, runs = _outputs(model, images)
    if named is not None:
        if named not in dict(model.network.named_modules()):
            near = get_close_matches(named, [name for name, _ in model.network.named_modules() if name], 3)
            raise ValueError(f"the model has no module {named!r}: {f'did you mean {near[0]}?' if near else REMEDY}")
        shape = next((list(output.shape) for name, output in outputs if name == named), None)
        if shape is None or len(shape) != 4 or shape[2] * shape[3] < 2 or runs[named] > 1:
            times = f" and runs {runs[named]} times" if runs[named] > 1 else ""
            raise ValueError(
                f"module {named!r} gives {shape or 'nothing'}{times}, no map [n, channels, rows, columns]: {REMEDY}"
            )
        return named
    for name, output in reversed(outputs):
        if output.dim() == 3 or (output.dim() == 4 and output.shape[2] != output.shape[3]):
            return None
        holds = any(isinstance(part, nn.Conv2d) for part in model.network.get_submodule(name).modules())
        if output.dim() == 4 and output.shape[2] > 1 and holds and runs[name] == 1:
            return name
    return None


def _outputs(model: OwnNetwork, images: Tensor) -> tuple[list[tuple[str, Tensor]], Counter[str]]:
    """Outputs of modules on which the logits depend, in the order in which they are done; how often each runs."""
    found: list[tuple[str, Tensor]] = []
    hooks = [
        module.register_forward_hook(lambda _module, _inputs, output, name=name: found.append((name, output)))
        for name, module in model.network.named_modules()
        if name
    ]
    try:
        with torch.enable_grad():
            logits = model(images.detach().clone().requires_grad_())
    finally:
        for hook in hooks:
            hook.remove()
    runs = Counter(name for name, _ in found)
    tensors = [(name, output) for name, output in found if isinstance(output, Tensor) and output.requires_grad]
    if not logits.requires_grad or not tensors:
        return [], runs
    slopes = torch.autograd.grad(logits.sum(), [output for _, output in tensors], allow_unused=True)
    return [pair for pair, slope in zip(tensors, slopes, strict=True) if slope is not None], runs


def _first_line(error: Exception) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0][:160]
