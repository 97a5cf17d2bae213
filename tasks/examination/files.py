"""Predictions and maps that were made elsewhere, examined as far as that goes without the model."""

import time
from collections.abc import Mapping, Sequence
from operator import attrgetter
from pathlib import Path

import numpy as np
import polars as pl

from db.engine import make_engine
from db.queries.arrays import sample_windows
from lesionlens.attribution.explain import Explained
from lesionlens.config.data import DataConfig, PatchConfig
from lesionlens.config.examination import GivenMaps
from lesionlens.evaluate import EvaluationInputs, evaluate_outputs
from lesionlens.localization.samples import scorable
from lesionlens.outputs import probabilities_of, read_maps, read_predictions, require_folder
from lesionlens.records import SampleArrays, Split
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


def examine_files(
    predictions: Path,
    maps: Path,
    *,
    data: Path | str | DataConfig,
    patches: PatchConfig = WINDOWS,
    name: str = "own model",
    record: bool = False,
    to: Path | str = Path("examination"),
) -> Examination:
    """The same answer and report as `examine`, of what another tool wrote; what needs the model is missing from them:
    occlusion and swap test, weight randomisation, faithfulness, the baseline of random weights. So no answer is a yes.

    predictions: CSV or Parquet with the columns `sample` and one of each class of the data set. maps: a folder with
    `<sample>.npy` or `<sample>.png`, larger where the predicted class is seen; needed of every sample with an
    annotation. Samples: those that `template` lists. data, patches, name, record, to: as in `examine`.
    ValueError, with a remedy, where these do not fit together.
    """
    with record_of(record, Path(to)) as placed:
        started = time.monotonic()
        config = configured(data, name, patches)
        index = indexed(config)
        # before samples are cut, which takes minutes of a large data set
        told = read_predictions(predictions, [label.code for label in sorted(index.labels, key=attrgetter("ordinal"))])
        require_folder(maps)
        samples, attributes, sample_set_id = prepared(config, index)
        with make_engine().connect() as connection:
            names = dict(sample_windows(connection, sample_set_id).select("sample_id", "sample").iter_rows())
        config = with_evaluation(config, GivenMaps(), samples)
        options = config.evaluation, samples, attributes, config.seed, None, config.positive
        test, tuning = (_outputs(told, predictions, maps, samples, names, split) for split in ("test", "validation"))
        result = evaluate_outputs(test, tuning, EvaluationInputs("train", *options))
        about = {
            "name": name, "classes": list(samples.classes), "predictions": predictions.name, "maps": maps.name,
            "normalise": "none", "weights": "not given",
        }  # fmt: skip
        return placed(entered(config, about, sample_set_id, samples, result, time.monotonic() - started, "files"))


def _outputs(
    told: Mapping[str, Sequence[float]],
    predictions: Path,
    maps: Path,
    samples: SampleArrays,
    names: dict[int, str],
    split: Split,
) -> Explained:
    """What the files say of one split."""
    chosen, known = samples.split(split), set(names.values())
    wanted = [names[number] for number in chosen.ids.tolist()]
    if not wanted:
        nothing = {("given", "predicted"): np.zeros((0, 2, 2), np.float32)}
        return Explained(np.zeros((0, len(samples.classes)), np.float32), np.zeros(0, np.int64), nothing)  # type: ignore[arg-type]
    probabilities = probabilities_of(told, predictions, wanted, known)
    needed = {name for name, lesion in zip(wanted, scorable(chosen), strict=True) if lesion}
    grids = read_maps(maps, wanted, needed, known)
    predicted = probabilities.argmax(axis=1).astype(np.int64)
    return Explained(probabilities, predicted, {("given", "predicted"): grids})  # type: ignore[dict-item]


def template(data: Path | str | DataConfig, patches: PatchConfig = WINDOWS, record: bool = False) -> pl.DataFrame:
    """The samples that predictions and maps are wanted of: sample (the image's path, and the lesion's name or the
    window), split, label, image, x, y, width, height (the window in the image's pixels; outside the image it is black),
    size (to which it is scaled)."""
    with record_of(record, Path()):
        config = configured(data, "template", patches)
        samples, _, sample_set_id = prepared(config, indexed(config))
        with make_engine().connect() as connection:
            windows = sample_windows(connection, sample_set_id)
    wanted = windows.filter(pl.col("split") != "train").drop("sample_id")
    return wanted.with_columns(size=pl.lit(samples.pixels.shape[1]))
