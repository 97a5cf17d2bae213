"""Strategies: which blocks train in which phase, at which rates, and when a phase ends."""

import math
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import nn

from lesionlens.config.training import RateRule, RunConfig, StoppingConfig, Strategy, TrainingConfig
from lesionlens.models.backbones import BACKBONES
from lesionlens.models.classifier import Block, Classifier, Level


@dataclass(frozen=True, slots=True)
class Phase:
    """The blocks that train, and the level below them, whose values stay constant meanwhile."""

    blocks: tuple[Block, ...]
    level: Level


HEAD = Phase(("head",), "pooled")
HEAD_1 = Phase(("unit1", "head"), "unit2")
LAST = Phase(("unit1", "top", "head"), "unit2")
HEAD_1_2 = Phase(("unit2", "unit1", "head"), "stem")
TOP = Phase(("top", "head"), "unit1")
ALL = Phase(("stem", "unit2", "unit1", "top", "head"), "pixels")

PHASES: dict[Strategy, tuple[Phase, ...]] = {
    "gradual": (HEAD, HEAD_1, HEAD_1_2),
    "simultaneous": (HEAD_1_2,),
    "last_block": (LAST,),
    "two_step": (TOP, ALL),
}


LEAST_BATCH = 8
"""Films in a batch from which on the trunk's batch normalisation is measured on it; with fewer it stays as it was."""


def set_modes(model: Classifier, phase: Phase, batch: int = LEAST_BATCH) -> None:
    """Put the blocks of the phase into training mode and freeze the others: no gradient, evaluation mode.

    batch: samples of a training step, which matters where every layer trains.
    """
    for name, block in model.blocks.items():
        block.requires_grad_(name in phase.blocks)
        block.train(name in phase.blocks)
        if phase == ALL and batch < LEAST_BATCH and name in ("stem", "unit2", "unit1"):
            for module in block.modules():
                if isinstance(module, nn.BatchNorm2d):
                    module.eval()


def parameter_groups(model: Classifier, phase: Phase, run: RunConfig, rule: RateRule) -> list[dict[str, Any]]:
    """Optimiser groups with `name`, `params` and `lr`, head first, then towards the input.

    ResNet and EfficientNet: head_rate, unit1_rate, unit1_rate / 10, one group per block. VGG: the i-th convolution
    from the output, counted from 0 through both units, gets unit1_rate / (i + 1), or by the author's code
    head_rate / (2 (i + 1)); a batch normalisation goes with the convolution before it. VGG's groups are named by block
    and convolution, counted from the input: unit1.conv3. A top trains as the head does; in the second step of two_step
    all blocks train at unit1_rate.
    """
    if phase in (TOP, ALL):
        rate = run.head_rate if phase == TOP else run.unit1_rate
        found = [(name, list(model.blocks[name].parameters())) for name in phase.blocks if name in model.blocks]
        return [{"name": name, "params": parameters, "lr": rate} for name, parameters in reversed(found)]
    new: list[Block] = ["head", "top"] if model.has_top else ["head"]
    groups: list[dict[str, Any]] = [
        {"name": name, "params": list(model.blocks[name].parameters()), "lr": run.head_rate} for name in new
    ]
    units = [name for name in ("unit1", "unit2") if name in phase.blocks]
    if BACKBONES[run.backbone].family == "resnet":
        rates = {"unit1": run.unit1_rate, "unit2": run.unit1_rate / 10}
        return groups + [
            {"name": unit, "params": list(model.get_submodule(unit).parameters()), "lr": rates[unit]} for unit in units
        ]
    convolutions = [found for unit in units for found in reversed(list(_convolutions(model, unit)))]
    for i, (name, parameters) in enumerate(convolutions):
        rate = run.unit1_rate / (i + 1) if rule == "published" else run.head_rate / (2 * (i + 1))
        groups.append({"name": name, "params": parameters, "lr": rate})
    return groups


def make_optimizer(
    model: Classifier, phase: Phase, run: RunConfig, training: TrainingConfig, device: torch.device
) -> torch.optim.Optimizer:
    """Adam over `parameter_groups`, with the weight decay of AdamW (Loshchilov & Hutter 2019) where one is asked for.
    A group's rate without a schedule is `full`."""
    groups = parameter_groups(model, phase, run, training.rates)
    return torch.optim.Adam(
        [group | {"full": group["lr"]} for group in groups],
        fused=True,
        capturable=device.type == "cuda",
        weight_decay=training.weight_decay,
        decoupled_weight_decay=True,
    )


def set_rates(optimizer: torch.optim.Optimizer, training: TrainingConfig, epoch: int) -> None:
    """Give every group its rate for an epoch of a phase, counted from 1."""
    if training.schedule == "cosine":
        for group in optimizer.param_groups:
            group["lr"] = group["full"] * cosine(epoch, training.stopping.max_epochs)


def cosine(epoch: int, epochs: int) -> float:
    """Proportion of the full rate in an epoch from 1 to `epochs`: linear over the first tenth, at least one epoch, full
    in the one after it, then half a cosine (Loshchilov & Hutter 2017) that would reach 0 in the epoch after the last.
    A phase of one epoch has the full rate."""
    warm = min(max(1, round(epochs / 10)), epochs - 1)
    if epoch <= warm:
        return epoch / (warm + 1)
    return 0.5 * (1 + math.cos(math.pi * (epoch - warm - 1) / (epochs - warm)))


def _convolutions(model: Classifier, unit: str) -> Iterator[tuple[str, list[nn.Parameter]]]:
    """The convolutions of a unit from the input, each with what follows it up to the next."""
    found: list[list[nn.Parameter]] = []
    for module in model.get_submodule(unit).modules():
        own = list(module.parameters(recurse=False))
        if isinstance(module, nn.Conv2d):
            found.append(own)
        elif own:
            found[-1].extend(own)
    for i, parameters in enumerate(found, start=1):
        yield f"{unit}.conv{i}", parameters


@dataclass(frozen=True, slots=True)
class Stopper:
    """Where a phase stands. A new one for every phase (`following`).

    lowest: lowest loss so far (the best checkpoint). reference: loss at the last sufficient improvement;
    slow progress adds up against it. waited: epochs since then. epochs: epochs of this phase.
    Losses are finite; the values before the first epoch are infinite, or those of the loaded weights.
    """

    lowest: float = math.inf
    reference: float = math.inf
    waited: int = 0
    epochs: int = 0

    def after(self, loss: float, config: StoppingConfig) -> "Stopper":
        """The state after an epoch with this validation loss. ValueError for NaN or infinity."""
        if not math.isfinite(loss):
            raise ValueError(f"validation loss is {loss}: only finite losses can be compared")
        moved = replace(self, lowest=min(self.lowest, loss), epochs=self.epochs + 1)
        if loss < self.reference and self.reference - loss >= config.min_delta:
            return replace(moved, reference=loss, waited=0)
        return replace(moved, waited=self.waited + 1)

    def following(self, config: StoppingConfig) -> "Stopper":
        """The state at the begin of the next phase, which starts from the weights of the lowest loss."""
        return Stopper(self.lowest, self.lowest) if config.start == "loaded" else Stopper()

    @property
    def counted(self) -> bool:
        """Whether the loss of the last epoch fell enough to count."""
        return self.epochs > 0 and self.waited == 0

    def improved_on(self, before: "Stopper") -> bool:
        """Whether the last epoch has the lowest loss of its phase; a tie keeps the earlier epoch."""
        return self.lowest < before.lowest

    def done(self, config: StoppingConfig) -> bool:
        """Whether the phase ends: as many epochs as allowed, or, unless weights are averaged, patience used up."""
        patient = config.keep == "averaged" or self.waited < config.patience
        return not patient or self.epochs >= config.max_epochs
