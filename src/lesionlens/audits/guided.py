"""What guidance does: maps and decisions of guided cells beside the same cells without, by size of the lesion."""

from collections.abc import Mapping, Sequence

import numpy as np
import polars as pl
from numpy.typing import NDArray

from lesionlens.attribution.scaling import Scaling, activation_maps
from lesionlens.audits.cells import CELL, Stored, seed_of, truth_of
from lesionlens.audits.decision import DECISIONS, Floats, Measures, Of, Seed, Truth, area, rows_of
from lesionlens.config.evaluation import EvaluationConfig
from lesionlens.localization.samples import scorable
from lesionlens.records import SampleArrays
from lesionlens.scoring.binary import View
from lesionlens.scoring.bootstrap import draw

SIZES = ("small", "medium", "large")
"""Thirds of the test lesions by area in the full image."""
Located = dict[str, Floats]
"""Of every test sample, NaN without annotation: hit, energy, blank, iou, and `dealt_` hit, energy, iou, the mean over
the same model's maps of other patients' lesions; float64 [n]."""


def guidance_effects(
    stored: Stored,
    maps: pl.DataFrame,
    samples: SampleArrays,
    attributes: pl.DataFrame,
    views: Mapping[str, View],
    evaluation: EvaluationConfig,
    seed: int,
) -> pl.DataFrame:
    """Measures of every cell of a study with guided runs, columns CELL and DECISIONS, question 'guidance'.

    maps: evaluation_id, sample_id, rows, grid of the headline method, predicted class; without rows no measures.
    Variant 'all' or one of SIZES. hit, energy, iou (of all lesions) and blank; each `_over_dealt`; `auc` (of the
    diagnosis, without one of detection). Of guided cells each also `_difference`, minus the same cell without guidance,
    paired by lesion and seed. Means over seeds, intervals as in `decisions`.
    """
    empty = pl.DataFrame(schema=CELL | DECISIONS)
    if maps.is_empty():
        return empty
    test, truth = samples.split("test"), truth_of(samples, views)
    thirds = lesion_thirds(test, attributes)
    made = {
        number: (seed_of(stored, number, test, evaluation), _located(stored, maps, number, test, evaluation))
        for number in stored.evaluations["evaluation_id"].to_list()
    }
    numbers = {
        cell: dict(rows.select("seed", "evaluation_id").rows())
        for cell, rows in stored.evaluations.group_by(list(CELL), maintain_order=True)
    }
    frames = [empty]
    for cell, own in numbers.items():
        plain = numbers.get((*cell[:-1], "none"), {}) if cell[-1] != "none" else {}
        pairs = [(made[own[s]], made[plain[s]] if plain else None) for s in own if s in plain or not plain]
        found = _measured(truth, pairs, thirds, evaluation, seed)
        keys = [pl.lit(value, dtype=kind).alias(name) for value, (name, kind) in zip(cell, CELL.items(), strict=True)]
        frames.append(found.select(*keys, pl.all()))
    return pl.concat(frames)


def lesion_thirds(test: SampleArrays, attributes: pl.DataFrame) -> NDArray[np.str_]:
    """Of which third by area in the full image each sample's lesion is, str [n]; '' without annotation.

    attributes: sample_id, window_width, window_height (pixels of the full image), mask_fraction (of the window).
    """
    found = pl.DataFrame({"sample_id": test.ids}).join(attributes, on="sample_id", how="left", maintain_order="left")
    areas = found.select(pl.col("window_width") * pl.col("window_height") * pl.col("mask_fraction")).to_series()
    sizes, there = areas.cast(pl.Float64).fill_null(np.nan).to_numpy(), scorable(test)
    if not there.any():
        return np.full(len(sizes), "", dtype="<U6")
    place = np.searchsorted(np.nanquantile(sizes[there], (1 / 3, 2 / 3)), sizes)
    return np.where(there, np.array(SIZES)[np.minimum(place, 2)], "")


def _located(
    stored: Stored, maps: pl.DataFrame, number: int, test: SampleArrays, evaluation: EvaluationConfig
) -> Located:
    ids, mine = pl.DataFrame({"sample_id": test.ids}), maps.filter(evaluation_id=number)
    joined = ids.join(mine, on="sample_id", how="left", maintain_order="left")
    shape = next((rows, len(grid) // rows) for rows, grid in mine.select("rows", "grid").rows() if grid is not None)
    nothing = [np.nan] * (shape[0] * shape[1])
    grids = np.array([nothing if grid is None else grid for grid in joined["grid"].to_list()], dtype=np.float32)
    found = located(grids.reshape(-1, *shape), test, evaluation.scaling)
    places = stored.localizations.filter(evaluation_id=number)
    for name, method in (("iou", evaluation.methods[0]), ("dealt_iou", "dealt_maps")):
        iou = ids.join(places.filter(method=method), on="sample_id", how="left", maintain_order="left")["iou"]
        found[name] = iou.fill_null(np.nan).to_numpy()
    return found


def located(grids: NDArray[np.float32], test: SampleArrays, scaling: Scaling) -> Located:
    """hit, energy and blank of unscaled maps [n, h, w], and hit and energy dealt: the mean over all maps of other
    patients' lesions. A blank map hits nothing and has no energy. A hit: the first maximum lies in the annotation."""
    rows = np.flatnonzero(scorable(test))
    found = {name: np.full(len(test.ids), np.nan) for name in ("hit", "energy", "blank", "dealt_hit", "dealt_energy")}
    scaled, blank = activation_maps(grids[rows], test.masks.shape[1:], scaling)
    maps = scaled.reshape(len(rows), -1).astype(np.float64)
    masks = test.masks[rows].reshape(len(rows), -1)
    hits = masks[:, maps.argmax(axis=1)] & ~blank
    energies = masks @ (maps / np.maximum(maps.sum(axis=1, keepdims=True), np.finfo(np.float64).tiny)).T
    others = test.patients[rows][:, None] != test.patients[rows][None, :]
    found["blank"][rows] = blank
    for name, table in (("hit", hits.astype(np.float64)), ("energy", energies)):
        found[name][rows] = table.diagonal()
        with np.errstate(invalid="ignore"):
            found[f"dealt_{name}"][rows] = (table * others).sum(axis=1) / others.sum(axis=1)
    return found


Made = tuple[Seed, Located]


def _measured(
    truth: Truth,
    pairs: Sequence[tuple[Made, Made | None]],
    thirds: NDArray[np.str_],
    evaluation: EvaluationConfig,
    seed: int,
) -> pl.DataFrame:
    if not pairs:
        return pl.DataFrame(schema=DECISIONS)
    generator = np.random.default_rng(seed)
    clusters = draw(truth.patients, evaluation.resamples, generator)
    count = len(pairs)
    weights = generator.multinomial(count, np.full(count, 1 / count), size=evaluation.resamples) / count
    found = []
    for (one, places), plain in pairs:
        measures = []
        for variant in ("all", *SIZES):
            inside = np.ones(len(thirds), dtype=np.bool_) if variant == "all" else thirds == variant
            if not (inside & truth.is_lesion).any():
                continue
            of = Of(truth, one, clusters, inside)
            measures += list(_maps(of, variant, places, plain[1] if plain else None))
            if variant == "all":
                measures += list(_auc(of, Of(truth, plain[0], clusters, inside) if plain else None))
        found.append(measures)
    rows = rows_of({"question": "guidance", "group_name": None}, found, weights, evaluation.confidence)
    return pl.DataFrame(rows, schema=DECISIONS, orient="row")


def _maps(of: Of, variant: str, own: Located, plain: Located | None) -> Measures:
    for name in ("hit", "energy", "iou", "blank"):
        yield variant, name, of.mean(own[name], of.lesions)
        if f"dealt_{name}" in own:
            yield variant, f"{name}_over_dealt", of.mean(own[name] - own[f"dealt_{name}"], of.lesions)
        if plain is not None:
            yield variant, f"{name}_difference", of.mean(own[name] - plain[name], of.lesions)


def _auc(of: Of, plain: Of | None) -> Measures:
    if len(of.split.lesion_labels) > 1:
        scores = [each.auc(each.seed.probabilities, each.lesions, of.split.labels) for each in (of, plain) if each]
    else:
        told = [each.seed.probabilities[:, of.split.lesion_labels].sum(axis=1) for each in (of, plain) if each]
        scores = [area(p, of.split.is_lesion, of.inside, of.clusters) for p in told]
    yield "all", "auc", scores[0]
    if plain is not None:
        yield "all", "auc_difference", scores[0].minus(scores[1])
