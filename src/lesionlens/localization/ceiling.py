"""The ceiling of a grid: what LL a map of its resolution could reach that knew the annotation."""

import numpy as np
import torch
from numpy.typing import NDArray
from torch.nn.functional import adaptive_avg_pool2d

from lesionlens.localization.curves import CURVE, tuned
from lesionlens.localization.maps import EvaluatedSplit
from lesionlens.localization.metrics import FIXED_THRESHOLD, score_grids
from lesionlens.localization.samples import Cut, ScoredMaps


def cell_means(masks: NDArray[np.bool_], shape: tuple[int, int]) -> NDArray[np.float32]:
    """The proportion of every grid cell that lies in the mask: bool [n, s, s] -> float32 [n, *shape]."""
    pooled: NDArray[np.float32] = adaptive_avg_pool2d(torch.from_numpy(masks).float()[:, None], shape)[:, 0].numpy()
    return pooled


def ceiling(split: EvaluatedSplit, shape: tuple[int, int]) -> ScoredMaps:
    """The annotation itself at the resolution of the model's maps, as if it were a map.

    Scaled as positive part over maximum, whatever the model's maps are; cut at the threshold with the highest mean IoU
    on the validation lesions, 0.5 where there are none. Networks with different grids are to be compared by how much
    of their ceilings they reach.
    """
    validation = split.inputs.patches.masks[list(split.tuning_rows)]
    curves = score_grids(cell_means(validation, shape), validation, "relu_max", FIXED_THRESHOLD).curve
    level = tuned(curves) or float(CURVE[9])
    grids, masks = cell_means(split.test.masks, shape), split.test.masks
    scores = score_grids(grids, masks, "relu_max", FIXED_THRESHOLD)
    levels = np.full(len(masks), level)
    iou = scores.curve[:, int(np.argmin(np.abs(CURVE - level)))]
    return ScoredMaps("ceiling", "none", "none", None, grids, scores, {"mask": Cut(levels, iou)})
