"""Sanity check: how similar maps stay while the model's weights are made random, layer by layer from the output."""

from collections.abc import Sequence
from copy import deepcopy
from typing import cast

import numpy as np
import polars as pl
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torchmetrics.functional.image import structural_similarity_index_measure
from torchmetrics.functional.regression import spearman_corrcoef

from lesionlens.attribution.explain import Advance, Source, reference_maps
from lesionlens.attribution.scaling import activation_maps
from lesionlens.audits.altered import altered_probabilities
from lesionlens.config.evaluation import EvaluationConfig
from lesionlens.frames import FRAMES
from lesionlens.models.own import Network, OwnNetwork
from lesionlens.models.weights import calibrate, measured_on
from lesionlens.scoring.bootstrap import draw
from lesionlens.scoring.means import Mean, means
from lesionlens.training.inputs import Inputs

OTHERS, REMEASURED = "other samples", "re-measured"


def randomisation_test(
    model: Network,
    random: Network,
    inputs: Inputs,
    rows: Sequence[int],
    evaluation: EvaluationConfig,
    seed: int,
    advance: Advance,
) -> pl.DataFrame:
    """Similarity of maps by `reference` to the intact model's while layers become random, cascading (Adebayo et al.
    2018).

    random: the same network with the weights that the layers become. rows: positions of the samples. The class
    explained stays the one the intact model predicts. Batch-norm statistics are measured anew on training samples after
    every step: otherwise activations die, and any map would look different for that reason alone. Step 1,
    're-measured', does that to the intact weights: what it changes by itself.
    Result: step (0: intact), layer (randomised last), ssim of the activation maps and
    rank_correlation (Spearman) of the unscaled ones, -1 to 1, means over the n samples whose both maps are not blank,
    with intervals clustered by patient. Step -1, 'other samples', is the baseline: the intact model's map of one sample
    against that of the next, where that is another patient's. Null where n is 0; no rows without samples. `model` is
    left as it was. `advance` is called with the number of samples after step 1 and every one of `layers(model)`.
    """
    if not rows:
        return pl.DataFrame(schema=FRAMES["randomisations"])
    # twice as fast on a CPU with channels last
    model, random, source = (
        deepcopy(model).to(inputs.device).to(memory_format=torch.channels_last),
        random.to(inputs.device),
        Source(inputs, rows),
    )
    at = np.array(rows, dtype=np.int64)
    intact_pixels = inputs.patches.pixels[at]
    classes = altered_probabilities(model.eval(), inputs, at, lambda part: intact_pixels[part]).argmax(axis=1)
    intact = reference_maps(model, source, classes, evaluation)
    grids = {OTHERS: np.roll(intact, 1, axis=0), "intact": intact}
    measured = measured_on(inputs.patches)
    for names in [[], *layers(model)]:
        for name in names:
            model.get_submodule(name).load_state_dict(random.get_submodule(name).state_dict())
        calibrate(model, inputs, measured, seed)
        layer = names[-1].removeprefix("network.") if names else REMEASURED
        grids[layer] = reference_maps(model, source, classes, evaluation)
        advance(len(rows))
    return _frame(grids, source, evaluation, seed)


def layers(model: Network) -> list[list[str]]:
    """The steps from the output inwards: the head, any prototypes, then every child of top, unit1, unit2, stem that has
    a convolution; of a network of another make its own `steps`.

    A batch normalisation beside its convolution goes with it. A step is names of modules, the convolution's (or
    residual block's) last.
    """
    if isinstance(model, OwnNetwork):
        return model.steps()
    steps: list[list[str]] = [["head"]] + ([["pool"]] if "pool" in model.blocks else [])
    for block in ("top", "unit1", "unit2", "stem"):
        pending: list[str] = []
        for child, module in reversed(list(model.get_submodule(block).named_children())):
            if any(isinstance(part, nn.Conv2d) for part in module.modules()):
                steps.append([*pending, f"{block}.{child}"])
                pending = []
            elif any(True for _ in module.parameters()):
                pending.append(f"{block}.{child}")
    return steps


def _frame(
    grids: dict[str, NDArray[np.float32]], source: Source, evaluation: EvaluationConfig, seed: int
) -> pl.DataFrame:
    """Rows of the frame from maps by layer, the intact ones among them."""
    shape, patients = source.inputs.patches.masks.shape[1:], source.inputs.patches.patients[list(source.rows)]
    clusters = draw(patients, evaluation.resamples, np.random.default_rng(seed))
    wanted = []
    for layer, found in grids.items():
        both, ssim, ranks = _similarity(grids["intact"], found, shape, evaluation)
        if layer == OTHERS:
            both &= patients != np.roll(patients, 1)
        wanted += [Mean({"layer": layer}, ssim, both), Mean({"layer": layer}, ranks, both)]
    scores = means(wanted, clusters, evaluation.confidence, binary=False)
    columns: dict[str, object] = {"step": np.arange(-1, len(grids) - 1), "layer": list(grids), "n": scores.n[::2]}
    for offset, (name, prefix) in enumerate((("ssim", "ssim"), ("rank_correlation", "rank"))):
        columns |= {name: scores.value[offset::2]}
        columns |= {f"{prefix}_low": scores.low[offset::2], f"{prefix}_high": scores.high[offset::2]}
    schema = FRAMES["randomisations"]
    return pl.DataFrame({name: columns[name] for name in schema}, schema=schema).fill_nan(None)


def _similarity(
    first: NDArray[np.float32], second: NDArray[np.float32], shape: tuple[int, ...], evaluation: EvaluationConfig
) -> tuple[NDArray[np.bool_], NDArray[np.float64], NDArray[np.float64]]:
    """Pairs without a blank map bool [n]; SSIM of activation maps, rank correlation of unscaled ones, float64 [n]."""
    maps, blank = activation_maps(first, shape, evaluation.scaling)
    others, other_blank = activation_maps(second, shape, evaluation.scaling)
    both = ~(blank | other_blank)
    ssim, ranks = np.full(len(both), np.nan), np.full(len(both), np.nan)
    if both.any():
        pair = torch.from_numpy(maps[both])[:, None], torch.from_numpy(others[both])[:, None]
        ssim[both] = cast(Tensor, structural_similarity_index_measure(*pair, data_range=1.0, reduction="none")).numpy()
    for row in np.flatnonzero(both):
        correlation = spearman_corrcoef(torch.from_numpy(first[row].ravel()), torch.from_numpy(second[row].ravel()))
        ranks[row] = np.nan_to_num(float(correlation))  # undefined for a constant map, which has no order
    return both, ssim, ranks
