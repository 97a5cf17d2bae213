"""A finished run on its own data and on others: the same numbers there, other ones beside them here."""

from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from polars.testing import assert_frame_equal
from sqlalchemy import Engine, text

from db.bulk import frame
from db.queries.checklist import checklist
from lesionlens.config.study import StudyConfig
from lesionlens.identity import digest
from lesionlens.records import DatasetIndex, Image, Label, Lesion, Statistics
from tasks.db_task import samples_of
from tasks.evaluate import evaluate_run, plan_evaluations
from tasks.external import evaluate_external, prepare_external, study_of
from tasks.train import train_run
from tests.record.makers import save_samples
from tests.record.tasks.conftest import LABELS, STUDY, Planned, noise_samples

ALIKE = (
    "prediction", "activation_map", "localization", "class_score", "run_score", "baseline_difference", "occlusion",
    "operating_point", "randomisation", "validation_score",
)  # fmt: skip


@pytest.fixture
def finished(engine: Engine, plan: Callable[[StudyConfig], Planned]) -> Planned:
    """A study whose one run is trained and evaluated; every image has a patient and pixels of its own."""
    planned = plan(STUDY)
    with engine.begin() as connection:
        connection.execute(text("UPDATE image SET pixels = key, patient = key"))
    samples_of.cache_clear()
    plan_evaluations(planned.study_id)
    for step in (train_run.fn, lambda *given: evaluate_run.fn(planned.study_id, *given)):
        assert step(planned.runs[0], "resnet18", datetime.now(UTC)) == "finished"
    assert study_of.fn(planned.runs[0]) == planned.study_id
    return planned


def rows(engine: Engine, query: str) -> pl.DataFrame:
    with engine.connect() as connection:
        return frame(connection, query)  # type: ignore[arg-type]


def other_set(engine: Engine) -> int:
    """Half of the images in another data set, with other names, classes in another order, and no background."""
    made = [sample for sample in noise_samples() if sample.label != "B"]
    labels = (Label("MM", "malignant", "mass", 0, True), Label("BM", "benign", "mass", 1, True), LABELS[0])
    labels = (*labels[:2], Label("B", "background", "background", 2, False))
    images = tuple(Image(sample.image_key, sample.image_key, f"{n}.jpg") for n, sample in enumerate(made))
    lesions = tuple(Lesion(str(s.lesion_key), s.image_key, "mass", "BENIGN", s.label, None) for s in made)
    index = DatasetIndex("elsewhere", "manifest", digest("elsewhere"), labels, images, lesions)
    with engine.begin() as connection:
        number = save_samples(connection, index, digest("elsewhere"), 64, made, statistics=[Statistics(None, 0.9, 0.9)])
        mine = "dataset_id = (SELECT id FROM dataset WHERE name = 'elsewhere')"
        connection.execute(text(f"UPDATE image SET pixels = 'other ' || key WHERE {mine}"))  # noqa: S608
        connection.execute(text("UPDATE image SET pixels = 'image 1' WHERE pixels = 'other image 1'"))  # trained on
        connection.execute(text("UPDATE image SET pixels = 'image 17' WHERE pixels = 'other image 17'"))  # tested on
    return number


@pytest.mark.slow
def test_the_own_data_give_the_own_numbers_to_the_last_digit_once(engine: Engine, finished: Planned) -> None:
    (run,) = finished.runs
    own = rows(engine, "SELECT sample_set_id, id FROM run").item(0, "sample_set_id")
    first = evaluate_external.fn(finished.study_id, run, own)
    assert evaluate_external.fn(finished.study_id, run, own) == first
    internal, other = rows(engine, "SELECT id FROM evaluation ORDER BY id")["id"].to_list()
    assert other == first
    for table in ALIKE:
        one, two = (
            rows(engine, f"SELECT * FROM {table} WHERE evaluation_id = {number}")  # noqa: S608
            for number in (internal, other)
        )
        kept = [name for name in one.columns if name not in ("id", "evaluation_id")]
        assert one.height, table
        assert_frame_equal(one.select(kept), two.select(kept), check_row_order=False, check_exact=True)
    found = rows(engine, "SELECT * FROM external")
    assert not found["is_external"].any() and set(found["shared_images"]) == {18} and set(found["left_out"]) == {15}
    assert set(found["difference"].drop_nulls()) == {0.0}
    assert rows(engine, "SELECT * FROM study_evaluations").height == 1, "views give internal results only"


@pytest.mark.slow
def test_another_set_is_mapped_by_class_and_patients_trained_on_are_left_out(engine: Engine, finished: Planned) -> None:
    (run,), number = finished.runs, other_set(engine)
    before = rows(engine, "SELECT * FROM sample_results ORDER BY sample_id")
    evaluation = evaluate_external.fn(finished.study_id, run, number)
    assert_frame_equal(rows(engine, "SELECT * FROM sample_results ORDER BY sample_id"), before)
    entered = rows(engine, "SELECT * FROM external_evaluation").row(0, named=True)
    assert (entered["left_out"], entered["is_external"]) == (1, False)
    assert entered["shared_images"] == ["image 1", "image 17"] and entered["shared_patients"] == ["image 1"]
    assert entered["missing_classes"] == ["B"]
    scored = rows(engine, "SELECT * FROM external WHERE measure = 'accuracy'").row(0, named=True)
    assert scored["external_n"] == 11 and scored["internal_n"] == 3
    with engine.connect() as connection:
        (said,) = checklist(connection, finished.study_id).filter(claim="33")["value"]
    assert said.startswith(f"evaluations on other data in this record: 1; run {run} on ") and said.endswith(", n 11")
    # the same pixels, the same probabilities: statistics and classes are those of the run
    same = rows(
        engine,
        "SELECT e.id, y.probabilities, l.code FROM evaluation AS e JOIN prediction AS y ON y.evaluation_id = e.id"
        " JOIN sample AS s ON s.id = y.sample_id JOIN label AS l ON l.id = y.predicted_label_id"
        " WHERE s.key = 'sample 17' ORDER BY e.id",
    )
    assert same["id"].to_list()[1] == evaluation and same["code"].n_unique() == 1
    np.testing.assert_allclose(*same["probabilities"].to_list(), atol=1e-5)
    tuned = rows(
        engine, "SELECT DISTINCT threshold FROM localization WHERE policy = 'validation' AND method = 'grad_cam'"
    )
    assert tuned.height == 1


def test_a_run_that_no_study_evaluated_and_a_folder_without_data_are_refused(
    engine: Engine, plan: Callable[[StudyConfig], Planned], tmp_path: Path
) -> None:
    planned = plan(STUDY)
    with pytest.raises(ValueError, match="no evaluation of run"):
        study_of.fn(planned.runs[0])
    with pytest.raises(ValueError, match="holds neither"):
        prepare_external.fn(planned.study_id, tmp_path)
