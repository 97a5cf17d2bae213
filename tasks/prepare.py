"""Prepare: an indexed data set, its samples in the record, and the study that will use them."""

import json
import platform
from collections import Counter
from collections.abc import Sequence
from importlib.metadata import version
from itertools import islice
from pathlib import Path
from typing import cast

import torch
from filelock import FileLock
from sqlalchemy import Engine

from db import datasets, studies
from db.engine import make_engine
from db.locks import lease
from db.queries import starts
from lesionlens.config.data import DataConfig
from lesionlens.config.study import (
    PREPARED,
    StudyConfig,
    evaluation_digest,
    measured_step,
    sample_set_digest,
    study_digest,
)
from lesionlens.config.training import Precision
from lesionlens.datasets.registry import read_index, resolve_source
from lesionlens.detection.fit import step_seconds as detector_seconds
from lesionlens.identity import digest
from lesionlens.models.weights import with_digest
from lesionlens.phantom.dataset import write_phantom
from lesionlens.records import DatasetIndex, Exclusion, Sample
from lesionlens.samples.films.merging import sampled
from lesionlens.samples.normalise import GreyStatistics
from lesionlens.samples.sample_set import build_samples
from lesionlens.samples.splits import SplitCheck, official_overlap
from lesionlens.settings import home, settings
from lesionlens.training.estimate import PAYS, step_seconds
from lesionlens.training.fit import choose_device
from tasks.db_task import db_task
from tasks.progress import progress, run_logger

LIBRARIES = ("lesionlens", "torch", "torchvision", "grad-cam", "torchmetrics", "scikit-image", "polars", "prefect")
BATCH = 128
"""Items written in one transaction, so that memory and transactions stay small however large the data set."""
SEEN = (
    "%s begins with a network that was trained on %d of the %d validation patients: validation flatters it by so much"
)


@db_task("prepare", "prepare {config.name}")
def prepare_study(config: StudyConfig) -> int:
    """Enter the data set, its samples and the study with every run of its grid; returns the study's id.

    What the record holds already is not done again. ValueError where the data cannot be used.
    """
    config = resolve_source(config)
    settled = {"weights": with_digest(config.training.weights), "precision": settled_precision(config)}
    training = config.training.model_copy(update=settled)
    with make_engine().connect() as connection:
        config = starts.with_digest(connection, config.model_copy(update={"training": training}))
    sample_set_id = prepare_samples(config, data_folder(config.data))
    return plan_study(config, sample_set_id)


def settled_precision(config: StudyConfig) -> Precision:
    """The precision of a study; `auto` is what this machine, which remembers it, measured at the first such study."""
    if config.training.precision != "auto":
        return config.training.precision
    if choose_device(settings().device) == "cuda":
        return "bfloat16"
    run, step, path = config.grid.runs()[0], measured_step(config), home().ensure().precision
    key = digest(platform.node(), *step.values(), torch.__version__)
    with FileLock(path.with_suffix(".lock")):
        known = json.loads(path.read_text()) if path.exists() else {}
        if "taken" not in known.get(key, {}):
            seconds = (
                detector_seconds(run, config.training, config.sample_shape[:2])
                if run.system == "detector"
                else step_seconds(run.backbone, config.patches.size)
            )
            taken = "bfloat16" if seconds["bfloat16"] <= PAYS * seconds["float32"] else "float32"
            known[key] = step | {"seconds": seconds, "taken": taken}
            path.write_text(json.dumps(known, indent=1))
    seconds, found = known[key]["seconds"], cast(Precision, known[key]["taken"])
    run_logger().info(
        "A step of %s takes %.3f s in float32, %.3f s in bfloat16: trained in %s",
        run.backbone, seconds["float32"], seconds["bfloat16"], found,
    )  # fmt: skip
    return found


def data_folder(data: DataConfig) -> Path:
    """The folder of the data set; a phantom is drawn where it is missing or unfinished."""
    if data.source != "phantom":
        assert data.root is not None  # the configuration refuses a missing root
        return data.root
    root = home().ensure().phantom / digest(data.phantom)[:16]
    with lease(make_engine(), f"phantom {root}"), progress("draw phantom mammograms", "images") as advance:
        write_phantom(data.phantom, root, advance)
    return root


def prepare_samples(config: StudyConfig, root: Path) -> int:
    """Cut, split and check samples unless the record holds this very set; returns its id."""
    index = read_index(config.data, root)
    return enter_samples(config, root, index, sample_set_digest(config, index.digest))


def enter_samples(
    config: StudyConfig,
    root: Path,
    index: DatasetIndex,
    identity: str,
    tested: DatasetIndex | None = None,
    carried: Sequence[tuple[int, int]] = (),
) -> int:
    """Cut the samples of a data set under this identity, unless the record holds them; returns the set's id.

    tested: the index whose splits count, all of them test, where nothing is to be trained. carried: as in
    `build_samples`.
    """
    engine = make_engine()
    with lease(engine, f"sample set {identity}"):
        with engine.begin() as connection:
            known = datasets.find_sample_set(connection, identity)
            if known is not None:
                run_logger().info("Samples are in the record already (sample set %s): nothing to do", known)
                return known
            if tested is None:
                _warn_of_overlap(index, config)
            dataset_id = datasets.save_dataset(connection, sampled(index, config), str(root))
            settings = config.model_dump(mode="json", include={"unit", "seed", *PREPARED} - {"data"})
            sample_set_id = datasets.open_sample_set(connection, dataset_id, identity, settings, config.sample_shape)
            writer = datasets.SampleWriter(connection, dataset_id, sample_set_id)
        _cut(engine, writer, tested or index, root, config, carried, trains=tested is None)
    return sample_set_id


def _warn_of_overlap(index: DatasetIndex, config: StudyConfig) -> None:
    """Whether the official splits leak, whatever becomes of it: the record's leak check is about samples."""
    patients, images = official_overlap(index)
    if patients:
        sound = config.split.rule == "sound"
        run_logger().warning(
            "The official splits share %d patients, with %d images of the same side and view; %s",
            patients,
            images,
            "they go wholly to test" if sound else f"split.rule {config.split.rule} keeps it so, sound does not",
        )


def _cut(
    engine: Engine,
    writer: datasets.SampleWriter,
    index: DatasetIndex,
    root: Path,
    config: StudyConfig,
    carried: Sequence[tuple[int, int]],
    trains: bool,
) -> None:
    """Samples into the record, batch by batch."""
    check, grey = SplitCheck(sampled(index, config)), GreyStatistics()
    reasons: Counter[str] = Counter()
    with progress("cut samples", "images") as advance:
        items = build_samples(index, root, config, advance, carried)
        while batch := list(islice(items, BATCH)):
            for item in batch:
                check.add(item)
                if isinstance(item, Exclusion):
                    reasons[item.reason] += 1
                elif isinstance(item, Sample):
                    grey.add(item)
            with engine.begin() as connection:
                writer.add(connection, batch)
    if trains:
        check.require_samples()
    with engine.begin() as connection:
        writer.close(connection, check.leaks(), grey.rows() if trains else ())
    told = ", ".join(f"{reason} {n}" for reason, n in reasons.most_common()) or "none"
    run_logger().info("%d samples cut; lesions left out and notes: %s", check.counts.total(), told)


def plan_study(config: StudyConfig, sample_set_id: int) -> int:
    """Enter the study and every run of its grid; returns the study's id, the same for the same content.

    ValueError where a run cannot begin with what `training.start` names.
    """
    with make_engine().begin() as connection:
        samples = datasets.sample_set_digest(connection, sample_set_id)
        study_id = studies.save_study(
            connection,
            study_digest(config, samples),
            config.name,
            config.model_dump(mode="json"),
            evaluation_digest(config),
            sample_set_id,
            versions(),
        )
        for run in config.grid.runs():
            training, title = config.training, config.grid.title(run)
            if training.start is not None:
                begun = starts.run_to_start(connection, training.start, run, sample_set_id)
                count, seen = starts.validated_on(connection, begun, sample_set_id)
                if seen:
                    run_logger().warning(SEEN, title, seen, count)
                training = training.model_copy(update={"start": begun})
            identity = digest(run, training, samples)
            studies.save_run(connection, study_id, identity, sample_set_id, run, training, title)
    return study_id


def versions() -> dict[str, str]:
    """Versions of the libraries that compute, of Python, and the kind of machine."""
    found = {name: version(name) for name in LIBRARIES}
    return found | {"python": platform.python_version(), "machine": platform.machine()}
