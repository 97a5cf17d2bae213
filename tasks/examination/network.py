"""A network that was trained elsewhere, examined on data with annotations."""

import time
from collections.abc import Sequence
from functools import partial
from pathlib import Path

import torch
from torch import nn

from db.engine import make_engine
from lesionlens.attribution.registry import of_layer
from lesionlens.config.data import DataConfig, PatchConfig
from lesionlens.config.evaluation import EvaluationConfig, Method
from lesionlens.config.examination import InputSpec
from lesionlens.config.training import Normalise
from lesionlens.evaluate import EvaluationInputs, evaluate
from lesionlens.localization.baselines import random_own
from lesionlens.models.own import REMEDY, TRIED, own_network
from lesionlens.models.weights import state_digest
from lesionlens.training.inputs import Inputs
from tasks.examination.record import (
    WINDOWS,
    Examination,
    configured,
    entered,
    indexed,
    prepared,
    record_of,
    with_evaluation,
)
from tasks.progress import progress
from tasks.train import device_slot

INPUT = InputSpec()


def examine(
    model: nn.Module,
    *,
    data: Path | str | DataConfig,
    classes: Sequence[str],
    input: InputSpec = INPUT,
    map_block: str | None = None,
    methods: Sequence[Method] = ("grad_cam",),
    patches: PatchConfig = WINDOWS,
    name: str = "own model",
    record: bool = False,
    to: Path | str = Path("examination"),
) -> Examination:
    """Predict, explain, score and audit a network that was trained elsewhere; the same tests, answer and report as for
    one trained here.

    model: any torch module, images float32 [n, channels, s, s] -> logits [n, classes]; it is copied and left as it is.
    data: a folder as docs/data.md has it. All of it is test unless it has splits of its own. classes: the data set's
    labels in the order of the model's outputs. input: size, normalisation and channels of its images. map_block: the
    name of the module whose output maps explain; without one the last map before global pooling. patches: how windows
    are cut; their size is the input's. record: keep everything in the record (LESIONLENS_HOME,
    LESIONLENS_DATABASE_URL); else the page and its tables come into the folder `to`.
    Raises ValueError, with a remedy, where model, data and input do not fit; EvaluationError where an output is not
    finite.
    """
    with record_of(record, Path(to)) as placed:
        config = configured(data, name, patches.model_copy(update={"size": input.size}))
        samples, attributes, sample_set_id = prepared(config, indexed(config, classes))
        # the network itself normalises, but for each image by its own statistics
        mode: Normalise = "per_patch" if input.normalise == "per_patch" else "train"
        inputs = Inputs(samples, mode, torch.device("cpu"))
        images = inputs(range(min(TRIED, len(samples.ids))))
        network = own_network(model, classes, samples.classes, input, images, map_block)
        if network.block is None and any(map(of_layer, methods)):
            raise ValueError(
                f"the model has no map of several cells before its output (a transformer, an MLP): {REMEDY}"
            )
        config = with_evaluation(config, EvaluationConfig(methods=tuple(methods)), samples)
        has_weights = any(True for _ in network.parameters())
        random = partial(random_own, network, inputs, config.seed) if has_weights else None
        options = config.evaluation, samples, attributes, config.seed, random, config.positive
        with device_slot(make_engine()) as device, progress(f"examine {name}", "samples") as advance:
            started = time.monotonic()
            result = evaluate(network, EvaluationInputs(mode, *options), device, progress=advance)
        about = {
            "name": name, "classes": list(classes), "input": input.model_dump(mode="json"), "map_block": network.block,
            "normalise": input.normalise if isinstance(input.normalise, str) else "own",
            "weights": f"own {state_digest([network.network])}",
        }  # fmt: skip
        seconds = time.monotonic() - started
        return placed(entered(config, about, sample_set_id, samples, result, seconds, device))
