"""What every examination does: samples from the data, everything into a record, the answer and report out of it."""

import os
import shutil
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import polars as pl

from db import evaluations, reports, studies
from db.engine import make_engine
from db.postgres import server
from db.queries import arrays
from lesionlens.config.data import BackgroundConfig, DataConfig, PatchConfig, SplitConfig
from lesionlens.config.evaluation import EvaluationConfig
from lesionlens.config.study import StudyConfig, evaluation_digest
from lesionlens.datasets.registry import read_index, resolve_source
from lesionlens.identity import digest
from lesionlens.localization.samples import scorable
from lesionlens.records import DatasetIndex, Evaluation, Label, SampleArrays, Statistics
from lesionlens.samples.external import all_test, require_known
from lesionlens.settings import home
from tasks.db_task import samples_of
from tasks.evaluate import enter_comparisons, enter_shortcuts
from tasks.prepare import enter_samples, versions
from tasks.report import render_report

WINDOWS = PatchConfig(jitter=1.0)
"""How windows are cut unless said otherwise: as the preset `sound` does."""


@dataclass(frozen=True, slots=True, eq=False)
class Examination:
    """What was found. answers: one row a question and group of lesions, with verdict and sentence; frames: everything
    that the report shows, by name; report: the page, with tables and figures in the folder of its name."""

    answers: pl.DataFrame
    frames: dict[str, pl.DataFrame]
    report: Path

    def __str__(self) -> str:
        rows = self.answers.filter(pl.col("group_name").is_null()).rows(named=True)
        told = [f"{row['question'].capitalize()}: {row['sentence']}" for row in rows]
        return "\n".join([*(told or ["No question can be asked of these classes."]), f"Report: {self.report}"])


def configured(data: Path | str | DataConfig, name: str, patches: PatchConfig) -> StudyConfig:
    source = data if isinstance(data, DataConfig) else DataConfig(root=Path(data).absolute())
    split = SplitConfig(rule="given")  # none is drawn from images that the model may have learnt from
    background = BackgroundConfig(size="matched")
    return resolve_source(StudyConfig(name=name, data=source, patches=patches, background=background, split=split))


def indexed(config: StudyConfig, classes: Sequence[str] | None = None) -> DatasetIndex:
    """The data set with the classes that the model knows; None for its own. ValueError where they do not fit."""
    assert config.data.root is not None
    index = read_index(config.data, config.data.root)
    return index if classes is None else _with_classes(index, classes)


def prepared(config: StudyConfig, index: DatasetIndex) -> tuple[SampleArrays, pl.DataFrame, int]:
    """The samples of all splits, with grey values 0 to 1 as they are; their attributes; the sample set's id.

    ValueError where nothing is left to test.
    """
    assert config.data.root is not None
    has_splits = any(image.official_split for image in index.images)
    choices = config.annotation, config.patches, config.background
    identity = digest("examined", index.digest, *choices, config.seed)
    number = enter_samples(config, config.data.root, index, identity, index if has_splits else all_test(index))
    samples = samples_of(number)
    with make_engine().connect() as connection:
        attributes = arrays.sample_attributes(connection, number)
        left_out = arrays.exclusion_counts(connection, number)
    if not scorable(samples.split("test")).any():
        why = ", ".join(f"{reason} {n}" for reason, n in left_out) or "none has an annotation"
        raise ValueError(f"{index.name}: no lesion is left to test the model on ({why}); docs/data.md has the reasons")
    return replace(samples, statistics=(Statistics(None, 0.0, 1.0),)), attributes, number


def _with_classes(index: DatasetIndex, classes: Sequence[str]) -> DatasetIndex:
    """The index with every class of the model among its labels, so that no prediction is without one."""
    twice = sorted({code for code in classes if list(classes).count(code) > 1})
    if twice:
        raise ValueError(f"classes names {', '.join(twice)} twice: name each output of the model once")
    missing = require_known(index, tuple(classes))
    if not missing:
        return index
    labels = [Label(code, code, code, len(index.labels) + n, False) for n, code in enumerate(missing)]
    return replace(index, labels=(*index.labels, *labels), digest=digest("with classes", index.digest, missing))


def with_evaluation(config: StudyConfig, evaluation: EvaluationConfig, samples: SampleArrays) -> StudyConfig:
    """The configuration with these options; without validation lesions, which thresholds are tuned on, maps are cut by
    Otsu's rule, which needs none."""
    tuned = scorable(samples.split("validation")).any()
    evaluation = evaluation.model_copy(update={"policy": "validation" if tuned else "otsu"})
    return config.model_copy(update={"evaluation": evaluation})


def entered(
    config: StudyConfig,
    about: dict[str, Any],
    sample_set_id: int,
    samples: SampleArrays,
    result: Evaluation,
    seconds: float,
    device: str,
) -> Examination:
    """Everything into the record, and the report out of it.

    Identity is what the model said, not its name: other code with the same weights is another model.
    """
    engine, options = make_engine(), config.model_dump(mode="json", exclude={"training", "grid", "evaluation"})
    options |= {"evaluation": config.evaluation.model_dump(mode="json"), "examined": about}
    said = [result.frames[name].hash_rows(seed=0).to_list() for name in ("predictions", "maps")]
    identity, evaluated = digest("examined", options, samples.digest, said), evaluation_digest(config)
    with engine.begin() as connection:
        asked = identity, config.name, options, evaluated, sample_set_id, versions(), device
        study_id, run_id = studies.save_examined(connection, *asked)
        evaluations.save_evaluation(connection, run_id, evaluated, config.evaluation, seconds, result)
    if (samples.splits == "train").any():
        enter_shortcuts(study_id, config)
    enter_comparisons(study_id, config)
    page = render_report.fn(study_id)
    with engine.connect() as connection:
        frames = reports.report_data(connection, study_id).frames
    return Examination(frames["answers"], frames, page)


@contextmanager
def record_of(keep: bool, to: Path) -> Iterator[Callable[[Examination], Examination]]:
    """The record to work in: this home's, or one of its own that is gone afterwards, and its report moved to `to`.

    Views, answer and page read a record. So without one the same code runs on an embedded record in a temporary home:
    a second way to the same numbers would have to be kept equal to the first.
    """
    # other processes would import the caller's script anew
    os.environ.setdefault("LESIONLENS_WORKERS", "1")
    if keep:
        yield lambda found: found
        return
    to = to.expanduser().absolute()
    with tempfile.TemporaryDirectory(prefix="lesionlens-") as root, _environment(root):
        try:
            yield lambda found: replace(found, report=_moved(found.report, to))
        finally:
            if server.find(home().record) is not None:
                make_engine().dispose()
                server.stop(home().record)


@contextmanager
def _environment(root: str) -> Iterator[None]:
    """This process's settings name `root` as home, and no other record."""
    names = ("LESIONLENS_HOME", "LESIONLENS_DATABASE_URL")
    before = {name: os.environ.pop(name) for name in names if name in os.environ}
    os.environ["LESIONLENS_HOME"] = root
    samples_of.cache_clear()  # numbers of sample sets begin anew
    try:
        yield
    finally:
        samples_of.cache_clear()
        del os.environ["LESIONLENS_HOME"]
        os.environ.update(before)


def _moved(page: Path, to: Path) -> Path:
    """The page and the folder of its tables and figures, named by digest, in another folder; the page's place there."""
    to.mkdir(parents=True, exist_ok=True)
    shutil.copytree(page.with_suffix(""), to / page.stem, dirs_exist_ok=True)
    return Path(shutil.copy2(page, to / page.name))
