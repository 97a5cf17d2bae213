"""Stages of a case-based run, and what trains in each of them at which rate."""

from dataclasses import dataclass
from typing import Any, Literal

from lesionlens.config.training import PrototypeConfig, RunConfig, TrainingConfig
from lesionlens.models.classifier import Classifier
from lesionlens.models.prototypes import layer_of
from lesionlens.training.strategies import Phase, parameter_groups

WEIGHT_DECAY = 1e-3  # of the convolutions, as published; prototypes have none
LAST_RATE, PRUNED_RATE = 1 / 3, 1 / 30  # of the last layer after a push and after pruning, over `head_rate`
FALL = 10  # of the joint rates from round to round


@dataclass(frozen=True, slots=True)
class Stage:
    """begins: what is done to the prototypes before the first epoch. falls: how often rates have fallen before it.

    Only stages `last` give states that may be evaluated: prototypes are training cases, and the weights fit them.
    """

    name: Literal["warm", "joint", "last"]
    epochs: int
    phase: Phase
    begins: Literal["push", "prune"] | None = None
    falls: int = 0


def stages(run: RunConfig, config: PrototypeConfig) -> tuple[Stage, ...]:
    """warm; then in every round joint, push, last; at the end prune and last.

    joint trains unit1 and the prototypes under the strategy gradual, unit2 beside them under simultaneous.
    """
    joint = joint_phase(run)
    last = Phase(("head",), "pooled")
    found = [Stage("warm", config.warm, Phase(("pool",), "unit1"))]
    for n in range(config.rounds):
        found += [Stage("joint", config.push_every, joint, falls=n), Stage("last", config.last, last, "push")]
    found.append(Stage("last", config.last, last, "prune"))
    return tuple(stage for stage in found if stage.epochs)


def joint_phase(run: RunConfig) -> Phase:
    """What trains in a joint stage. Blocks below its level keep their first weights throughout."""
    return Phase(("unit1", "pool"), "unit2") if run.strategy == "gradual" else Phase(("unit2", "unit1", "pool"), "stem")


def groups(model: Classifier, stage: Stage, run: RunConfig, training: TrainingConfig) -> list[dict[str, Any]]:
    """Optimiser groups with `name`, `params`, `lr` and `weight_decay`.

    Prototypes and the convolutions before them at `head_rate`, blocks below by the rule of every classifier.
    """
    if stage.name == "last":
        rate = run.head_rate * (PRUNED_RATE if stage.begins == "prune" else LAST_RATE)
        return [{"name": "head", "params": [model.head.weight], "lr": rate, "weight_decay": 0.0}]
    layer, fall = layer_of(model), float(FALL**stage.falls)
    convolutions = list(layer.add_on.parameters())
    found: list[dict[str, Any]] = [
        {"name": "pool.add_on", "params": convolutions, "lr": run.head_rate / fall, "weight_decay": WEIGHT_DECAY},
        {"name": "pool.vectors", "params": [layer.vectors], "lr": run.head_rate / fall, "weight_decay": 0.0},
    ]
    if stage.name == "warm":
        return found
    below = parameter_groups(model, stage.phase, run, training.rates)[1:]
    return found + [group | {"lr": group["lr"] / fall, "weight_decay": WEIGHT_DECAY} for group in below]
