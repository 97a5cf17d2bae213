"""Faithfulness (deletion, insertion): does the prediction change more with what a map marks than with the rest?"""

from collections.abc import Mapping

import numpy as np
import polars as pl
import torch
from numpy.typing import NDArray
from torch import nn
from torch.nn.functional import interpolate

from lesionlens.audits.altered import altered_probabilities
from lesionlens.frames import FRAMES
from lesionlens.samples.filling import inpainted
from lesionlens.scoring.bootstrap import Clusters
from lesionlens.scoring.means import Mean, means
from lesionlens.training.inputs import Inputs

STEPS = (0.1, 0.3, 0.5, 0.7, 0.9)
"""Proportions of the sample deleted, or inserted, at which the prediction is read."""
GRID = 8  # a random order deletes cells of a grid as coarse as maps are, not single pixels
Curves = dict[str, NDArray[np.float64]]


def faithfulness(
    model: nn.Module,
    inputs: Inputs,
    rows: NDArray[np.int64],
    whole: NDArray[np.float32],
    maps: Mapping[str, NDArray[np.float32]],
    generator: np.random.Generator,
) -> dict[str, Curves]:
    """Deletion and insertion AUC (Petsiuk et al. 2018) of every method, and of a random order: float64 [k] each.

    rows [k]: positions of the inputs' samples. whole float32 [k, classes]: their probabilities; the class followed
    is the predicted one. maps: by method, unscaled float32 [k, h, w]; a sample whose map is NaN all over was not
    explained, and its curves are NaN. Deletion fills in the most marked tenth, three tenths, ... of the sample;
    insertion shows these alone, all else filled in. The AUC is the mean probability over these steps, so a faithful
    map has a low deletion and a high insertion AUC. 'random': an order of the cells of an 8 x 8 grid, drawn by the
    generator.
    """
    shape, predicted = inputs.patches.pixels.shape[1:], whole.argmax(axis=1)
    grids = {"random": generator.random((len(rows), GRID, GRID)).astype(np.float32), **maps}
    found: dict[str, Curves] = {}
    for method, grid in grids.items() if len(rows) else ():
        explained = ~np.isnan(grid).all(axis=(1, 2))
        tensor = torch.from_numpy(np.nan_to_num(grid[explained]))[:, None]
        order = ranks(interpolate(tensor, size=shape, mode="bilinear")[:, 0].numpy())
        found[method] = {name: np.full(len(rows), np.nan) for name in ("deletion", "insertion")}
        for name, curve in found[method].items():
            own = rows[explained], predicted[explained]
            curve[explained] = _mean_probability(model, inputs, *own, order, name == "insertion")
    return found


def ranks(maps: NDArray[np.float32]) -> NDArray[np.float64]:
    """Where each pixel stands in its map's order from the highest: proportion of pixels above it, [n, s, s].

    >>> ranks(np.array([[[3, 1], [2, 0]]], dtype=np.float32)).tolist()
    [[[0.0, 0.5], [0.25, 0.75]]]
    """
    flat = maps.reshape(len(maps), maps.shape[1] * maps.shape[2])
    places = np.empty(flat.shape)
    order = np.argsort(-flat, axis=1, kind="stable")
    np.put_along_axis(places, order, np.arange(flat.shape[1]) / flat.shape[1], axis=1)
    return places.reshape(maps.shape)


def _mean_probability(
    model: nn.Module,
    inputs: Inputs,
    rows: NDArray[np.int64],
    predicted: NDArray[np.int64],
    order: NDArray[np.float64],
    insertion: bool,
) -> NDArray[np.float64]:
    at, steps = np.repeat(np.arange(len(rows)), len(STEPS)), np.tile(STEPS, len(rows))

    def change(part: slice) -> NDArray[np.uint8]:
        top = order[at[part]] < steps[part, None, None]
        return inpainted(inputs.patches.pixels[rows[at[part]]], ~top if insertion else top)

    said = altered_probabilities(model, inputs, rows[at], change)[np.arange(len(at)), predicted[at]]
    curve: NDArray[np.float64] = said.astype(np.float64).reshape(len(rows), len(STEPS)).mean(axis=1)
    return curve


def faithfulness_scores(found: Mapping[str, Curves], clusters: Clusters, confidence: float) -> pl.DataFrame:
    """deletion_auc, insertion_auc by method, and deletion_gain (random minus own), insertion_gain (own minus random),
    paired by sample: both above 0 for a faithful map. Frame: run_scores; population 'drawn_lesions'.

    clusters: resamples of the patients of the samples that `faithfulness` saw.
    """
    if not found:
        return pl.DataFrame(schema=FRAMES["run_scores"])
    random = found["random"]
    wanted = []
    for method, curves in found.items():
        values = {f"{name}_auc": curve for name, curve in curves.items()}
        if method != "random":
            values["deletion_gain"] = random["deletion"] - curves["deletion"]
            values["insertion_gain"] = curves["insertion"] - random["insertion"]
        key: dict[str, object] = {
            "method": method,
            "target": "predicted",
            "population": "drawn_lesions",
            "group_name": "all",
        }
        wanted += [Mean(key | {"name": name}, value, ~np.isnan(value)) for name, value in values.items()]
    return means(wanted, clusters, confidence, binary=False).frame(FRAMES["run_scores"])
