"""Maps to compare with: three that are independent of the image, those of an untrained network, and the ceiling of a
grid, what LL a map of its resolution could reach that knew the annotation."""

from collections.abc import Callable, Mapping, Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter
from torch.nn.functional import adaptive_avg_pool2d

from lesionlens.attribution.explain import Advance, Source, explain
from lesionlens.attribution.scaling import activation_maps
from lesionlens.attribution.sweep import PatchRun, sweep
from lesionlens.config.evaluation import Method
from lesionlens.config.training import RunConfig, TrainingConfig
from lesionlens.localization.curves import CURVE, tuned
from lesionlens.localization.maps import EvaluatedSplit, explained_rows, level_of, scored
from lesionlens.localization.metrics import FIXED_THRESHOLD, iou_at, iou_curve, score_grids, score_maps
from lesionlens.localization.samples import Cut, ScoredMaps, scorable
from lesionlens.models.classifier import Classifier
from lesionlens.models.own import Network, OwnNetwork
from lesionlens.models.weights import calibrate, initial_model, measured_on
from lesionlens.records import BASELINES, FILM_BASELINES, Baseline, SampleArrays
from lesionlens.samples.filling import reduced
from lesionlens.training.inputs import Inputs

# Added to a run's seed for its random counterpart, so that no weight equals one of a run trained from its seed.
OTHER_SEED = 1_000_003
DRAWS = 10  # networks with random weights
BLOB = 1.6  # ratio of two Gaussians whose difference is nearly a Laplacian (Marr and Hildreth 1980)


def baseline_maps(train_masks: NDArray[np.bool_]) -> dict[Baseline, tuple[NDArray[np.float32], float]]:
    """A map float32 [height, width] in [0, 1] and the threshold that makes it a region, for every constant baseline.

    train_masks bool [n, height, width]: the masks of the training split's lesions; empty ones do not count.
    whole_patch: 1 everywhere. centred_disc: the disc around the centre with the area of the mean training lesion.
    mean_mask: the mean of the training masks, min-max scaled, cut at that threshold of 0.05..0.95 which has the highest
    mean IoU with the training masks themselves. Raises ValueError where there is no training lesion.
    """
    masks = train_masks[train_masks.any(axis=(1, 2))]
    if not len(masks):
        raise ValueError("baselines: the training split has no lesion with a mask; check the sample set's split")
    mean = mean_map(masks)
    curves = np.concatenate(
        [iou_curve(np.broadcast_to(mean, part.shape), part) for part in np.array_split(masks, 1 + len(masks) // 64)]
    )
    return {
        "whole_patch": (np.ones(mean.shape, dtype=np.float32), 0.5),
        "centred_disc": (disc(mean.shape, float(masks.sum(axis=(1, 2)).mean())).astype(np.float32), 0.5),
        "mean_mask": (mean, tuned(curves) or float(CURVE[9])),
    }


def film_maps(split: EvaluatedSplit, patches: PatchRun | None = None) -> list[ScoredMaps]:
    """Of films maps that the model did not make: the breast; bright blobs of the size of the training lesions, a
    difference of Gaussians whose positive part within the breast is kept; and the sweep of the patch run that it began
    with, where there is one. The last two are cut at thresholds tuned on the validation lesions.
    """
    test, every, rows = split.test, split.inputs.patches, split.tuning_rows
    if test.breasts is None:
        return []
    sizes = every.masks[scorable(every) & (every.splits != "test")].sum(axis=(1, 2))
    radius = float(np.sqrt(np.median(sizes) / np.pi)) if len(sizes) else test.masks.shape[1] / 16
    found = [_film_map("breast", split, test.breasts.astype(np.float32))]
    found.append(_film_map("bright_blob", split, bright_blobs(test, radius), bright_blobs(every, radius, rows)))
    if patches is not None:
        shape, scaling, device = test.masks.shape[1:], split.evaluation.scaling, split.inputs.device
        grids, tuning = (sweep(patches, every, each, device) for each in (split.rows, rows))
        maps, tuned_on = (activation_maps(each, shape, scaling)[0] for each in (grids, tuning))
        found.append(_film_map("sweep", split, maps, tuned_on, grids))
    return found


def _film_map(
    name: str,
    split: EvaluatedSplit,
    maps: NDArray[np.float32],
    tuning: NDArray[np.float32] | None = None,
    grids: NDArray[np.float32] | None = None,
) -> ScoredMaps:
    """Maps in [0, 1] of the test split, scored. tuning: of the validation lesions; without it the map is a region."""
    test, level = split.test, np.nan
    if tuning is not None:
        masks = split.inputs.patches.masks[list(split.tuning_rows)]
        level = tuned(iou_curve(tuning, masks)) or float(CURVE[9])
    iou = iou_at(maps, test.masks, np.full(len(test.ids), 0.5 if np.isnan(level) else level))
    cuts = {"mask": Cut(np.full(len(test.ids), level), iou)}
    return ScoredMaps(name, "none", "none", None, grids, score_maps(maps, test.masks, FIXED_THRESHOLD), cuts)


def bright_blobs(films: SampleArrays, radius: float, rows: Sequence[int] | None = None) -> NDArray[np.float32]:
    """Maps float32 [n, h, w] in [0, 1]: `blobs` in proportion to the brightest of the film."""
    found = blobs(films, radius, rows)
    found /= np.maximum(found.max(axis=(1, 2), keepdims=True), np.float32(1e-6))
    return found


def blobs(films: SampleArrays, radius: float, rows: Sequence[int] | None = None) -> NDArray[np.float32]:
    """Maps float32 [n, h, w] of films at these positions, all without: by how many grey values a blob of `radius`
    pixels of the mask is brighter than what surrounds it; 0 outside the breast.
    """
    assert films.breasts is not None
    at = range(len(films.ids)) if rows is None else rows
    found = np.zeros((len(at), *films.masks.shape[1:]), dtype=np.float32)
    for each, row in zip(found, at, strict=True):
        grey = reduced(films.pixels[row], films.scale).astype(np.float32)
        inner = radius / np.sqrt(2)  # of a disc this Gaussian has the highest answer
        brighter = gaussian_filter(grey, inner) - gaussian_filter(grey, BLOB * inner)
        each[:] = np.where(films.breasts[row], np.maximum(brighter, 0), 0)
    return found


def disc(shape: tuple[int, ...], area: float) -> NDArray[np.bool_]:
    """A disc of `area` pixels around the centre: bool [height, width] of `shape`.

    Its pixels are those nearest to the centre, as many as `area` rounded, so the area is exact at any size; at least
    one.

    >>> disc((4, 4), 4).astype(int).tolist()
    [[0, 0, 0, 0], [0, 1, 1, 0], [0, 1, 1, 0], [0, 0, 0, 0]]
    """
    down, across = (np.arange(side) - (side - 1) / 2 for side in shape)
    distance = (down[:, None] ** 2 + across[None, :] ** 2).ravel()
    nearest = np.argsort(distance, kind="stable")[: max(1, min(len(distance), round(area)))]
    region = np.zeros(len(distance), dtype=np.bool_)
    region[nearest] = True
    return region.reshape(shape)


def mean_map(masks: NDArray[np.bool_]) -> NDArray[np.float32]:
    """The mean of masks bool [n, s, s], min-max scaled to float32 [s, s] in [0, 1]; ones where it is constant."""
    mean = masks.mean(axis=0, dtype=np.float64)
    low, high = mean.min(), mean.max()
    if high <= low:
        return np.ones(mean.shape, dtype=np.float32)
    scaled: NDArray[np.float32] = ((mean - low) / (high - low)).astype(np.float32)
    return scaled


def constant_baselines(split: EvaluatedSplit) -> list[ScoredMaps]:
    """The baselines that are the same for every sample, scored like maps; their region is the policy 'mask'.

    Made from the training lesions; where there are none from the test lesions themselves, which are harder to beat.
    """
    train, test = split.inputs.patches.split("train"), split.test
    train = train if scorable(train).any() else test
    baselines = []
    for name, (constant, level) in baseline_maps(train.masks[scorable(train)]).items():
        if name not in (BASELINES if test.breasts is None else FILM_BASELINES):
            continue
        maps = np.broadcast_to(constant, test.masks.shape)
        cut = np.full(len(test.ids), level)
        # The threshold of a map that is only 0 and 1 means nothing, so none is stored.
        stored = cut if name == "mean_mask" else np.full(len(test.ids), np.nan)
        scores = score_maps(maps, test.masks, FIXED_THRESHOLD)
        cuts = {"mask": Cut(stored, iou_at(maps, test.masks, cut))}
        baselines.append(ScoredMaps(name, "none", "none", None, None, scores, cuts))
    return baselines


def random_weights(
    random: Callable[[int], Network], split: EvaluatedSplit, methods: tuple[Method, ...], advance: Advance
) -> dict[str, ScoredMaps]:
    """By method, its maps of ten networks of the same architecture with random weights, for the class that each itself
    predicts.

    random: the network of a draw, from 0. Samples are dealt to the networks in turn, so a mean over lesions is one over
    draws of weights, too; the threshold is tuned on the maps of all.
    """
    inputs, wanted = split.inputs, [*split.rows, *split.tuning_rows]
    grids: dict[Method, dict[int, NDArray[np.float32]]] = {method: {} for method in methods}
    predicted: dict[int, int] = {}
    for draw in range(DRAWS):
        model, own = random(draw), wanted[draw::DRAWS]
        found = explain(model, Source(inputs, own), split.evaluation, methods, ("predicted",), advance, split.few)
        for method in methods:
            at = explained_rows(split, method, own).tolist()
            grids[method].update(zip(at, found.maps[method, "predicted"], strict=True))
        predicted.update(zip(own, found.predicted.tolist(), strict=True))
    labels = np.array([predicted[row] for row in split.rows], dtype=np.int64)
    maps = {}
    for method, of_row in grids.items():
        test, tuning = (explained_rows(split, method, rows) for rows in (split.rows, split.tuning_rows))
        level = level_of(split, tuning, _stacked(of_row, tuning))
        maps[method] = scored(split, method, "random_weights", "predicted", labels, _stacked(of_row, test), level)
    return {str(method): found for method, found in maps.items()}


def _stacked(grids: Mapping[int, NDArray[np.float32]], rows: NDArray[np.int64]) -> NDArray[np.float32]:
    """float32 [k, h, w] of the grids at rows int64 [k]."""
    return np.array([grids[int(row)] for row in rows]) if len(rows) else np.zeros((0, 1, 1), dtype=np.float32)


def random_model(run: RunConfig, training: TrainingConfig, samples: SampleArrays, draw: int = 0) -> Classifier:
    """The run's architecture with random weights, its batch-norm statistics measured as before a training from none.

    Made on the CPU, so that it is the same model whatever device it then runs on. draw: its number, from 0.
    """
    inputs = Inputs(samples, training.normalise, torch.device("cpu"))
    other = run.model_copy(update={"seed": run.seed + OTHER_SEED + draw})
    from_none = training.model_copy(update={"weights": "none", "start": None})
    return initial_model(other, from_none, len(samples.classes), inputs, measured_on(samples))


def random_own(model: OwnNetwork, inputs: Inputs, seed: int, draw: int = 0) -> OwnNetwork:
    """The same for a network of another make; on the CPU, too."""
    made = model.randomised(seed + OTHER_SEED + draw)
    calibrate(made, Inputs(inputs.patches, inputs.mode, torch.device("cpu")), measured_on(inputs.patches), seed)
    return made


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
