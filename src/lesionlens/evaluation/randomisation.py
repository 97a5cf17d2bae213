"""Sanity check: do maps change when the model's weights are made random, layer by layer from the output?"""

from collections.abc import Sequence
from copy import deepcopy
from typing import cast

import numpy as np
import polars as pl
import torch
from numpy.typing import NDArray
from polars import DataType
from torch import Tensor
from torchmetrics.functional.image import structural_similarity_index_measure
from torchmetrics.functional.regression import spearman_corrcoef

from lesionlens.config import EvaluationConfig, RunConfig
from lesionlens.evaluation.erase import probabilities
from lesionlens.evaluation.explain import grad_cam
from lesionlens.evaluation.maps import activation_maps
from lesionlens.training.backbones import Classifier, build
from lesionlens.training.inputs import Inputs
from lesionlens.training.weights import calibrate

SIMILARITIES: dict[str, DataType | type[DataType]] = {
    "step": pl.Int64,
    "layer": pl.String,
    "ssim": pl.Float64,
    "rank_correlation": pl.Float64,
    "n": pl.Int64,
}


def randomisation_test(
    model: Classifier, run: RunConfig, inputs: Inputs, rows: Sequence[int], evaluation: EvaluationConfig, seed: int
) -> pl.DataFrame:
    """Similarity of Grad-CAM maps to the intact model's while layers become random, cascading (Adebayo et al. 2018).

    The class explained stays the one the intact model predicts. Batch-norm statistics are measured anew on training
    patches after every step: otherwise activations die, and any map would look different for that reason alone.
    Result: step (0: intact), layer (randomised last), ssim and rank_correlation (Spearman, of the grids), means over
    the n samples whose both maps are not blank. Step -1, 'other samples', is the level of chance: the intact model's
    map of one sample against that of the next. Null where n is 0. `model` is left as it was.
    """
    model = deepcopy(model)
    size = inputs.patches.pixels.shape[1]
    classes = probabilities(model, inputs, rows).argmax(axis=1).astype(np.int64)
    intact = grad_cam(model, inputs, rows, classes, evaluation.layer)
    found = [
        {"step": -1, "layer": "other samples"} | _similarity(intact, np.roll(intact, 1, axis=0), size, evaluation),
        {"step": 0, "layer": "intact"} | _similarity(intact, intact, size, evaluation),
    ]
    random = build(run.backbone, len(inputs.patches.classes), seed)
    for step, name in enumerate(layers(model), start=1):
        model.get_submodule(name).load_state_dict(random.get_submodule(name).state_dict())
        calibrate(model, inputs, inputs.rows("train"), seed)
        grids = grad_cam(model, inputs, rows, classes, evaluation.layer)
        found.append({"step": step, "layer": name} | _similarity(intact, grids, size, evaluation))
    return pl.DataFrame(found, schema=SIMILARITIES)


def layers(model: Classifier) -> list[str]:
    """Names of the parts with weights, from the output inwards: the head, then every child of unit1, unit2, stem."""
    names = [
        f"{stage}.{child}"
        for stage in ("unit1", "unit2", "stem")
        for child, module in reversed(list(model.get_submodule(stage).named_children()))
        if any(True for _ in module.parameters())
    ]
    return ["head", *names]


def _similarity(
    first: NDArray[np.float32], second: NDArray[np.float32], size: int, evaluation: EvaluationConfig
) -> dict[str, float | int | None]:
    """Mean SSIM of the activation maps and mean rank correlation of the grids, over pairs without a blank map."""
    maps, blank = activation_maps(first, size, evaluation.scaling)
    others, other_blank = activation_maps(second, size, evaluation.scaling)
    both = ~(blank | other_blank)
    count = int(both.sum())
    if not count:
        return {"ssim": None, "rank_correlation": None, "n": 0}
    pair = torch.from_numpy(maps[both])[:, None].double(), torch.from_numpy(others[both])[:, None].double()
    ssim = cast(Tensor, structural_similarity_index_measure(*pair, data_range=1.0))
    ranks = [
        float(spearman_corrcoef(torch.from_numpy(a.ravel()), torch.from_numpy(b.ravel())))
        for a, b in zip(first[both], second[both], strict=True)
    ]
    # Undefined where a grid is constant: it shares no order with the other.
    return {"ssim": float(ssim), "rank_correlation": float(np.nan_to_num(ranks).mean()), "n": count}
