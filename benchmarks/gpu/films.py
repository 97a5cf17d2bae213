"""Whole films on a GPU: seconds of a step and memory, top alone and every layer."""

from functools import partial

import torch
from torch import Tensor

from benchmarks.gpu.setting import Setting
from benchmarks.gpu.steps import Result
from benchmarks.train_ours import patches_of
from lesionlens.config.training import RunConfig, TrainingConfig
from lesionlens.models.arithmetic import arithmetic
from lesionlens.models.backbones import network
from lesionlens.models.classifier import Classifier, Level
from lesionlens.training.epochs import eager
from lesionlens.training.inputs import Inputs, Source, computed
from lesionlens.training.strategies import PHASES, parameter_groups, set_modes

NAMES = ("top", "all layers")
STEPS = 5


def films(setting: Setting) -> Result:
    """Milliseconds of a step, and the most memory, of the two phases of `two_step` at every batch size."""
    found, device = Result(), torch.device(setting.device)
    for batch in setting.film_batches:
        samples = patches_of(batch, batch, *setting.films)
        inputs, labels = Inputs(samples, "train", device), torch.from_numpy(samples.labels).to(device)
        asked = {"backbone": setting.film_backbone, "strategy": "two_step", "batch_size": batch}
        run, training = RunConfig.model_validate(asked), TrainingConfig(weights="none", top="residual")
        for name, phase in zip(NAMES, PHASES["two_step"], strict=True):
            model = network(run, training, len(samples.classes)).to(device).to(memory_format=torch.channels_last)
            set_modes(model, phase, batch)
            source = inputs if phase.level == "pixels" else computed(model, phase.level, inputs)
            groups = parameter_groups(model, phase, run, training.rates)
            optimizer = torch.optim.Adam(groups, fused=True, capturable=setting.device == "cuda")

            scored = partial(_scored, model, phase.level, source, device)
            step, rows = eager(scored, optimizer, labels), torch.arange(batch, device=device)
            if setting.device == "cuda":
                torch.cuda.reset_peak_memory_stats()
            step(rows)
            started = setting.clock()
            for _ in range(STEPS):
                step(rows)
            found[f"{name}, batch {batch}, ms"] = 1e3 * (setting.clock() - started) / STEPS
            if setting.device == "cuda":
                found[f"{name}, batch {batch}, GiB"] = torch.cuda.max_memory_allocated() / 2**30
    return found


def _scored(
    model: Classifier, level: Level, source: Source, device: torch.device, rows: Tensor
) -> tuple[Tensor, Tensor | None]:
    with arithmetic(device):
        return model.from_level(level, source(rows)).float(), None
