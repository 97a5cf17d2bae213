"""A case-based study in a real record: trained, evaluated, asked, rendered; and what its page must say."""

import json
import re
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import polars as pl
import pytest
from sqlalchemy import Engine, text

from db import reports, studies
from db.bulk import frame
from lesionlens.config.evaluation import EvaluationConfig
from lesionlens.config.study import StudyConfig
from lesionlens.config.training import GridConfig, HyperSet, PrototypeConfig
from lesionlens.reporting.cases.tables import sentences
from tasks import evaluate, report
from tasks.train import train_run
from tests.record.tasks.conftest import STUDY, Planned

CASES = PrototypeConfig(per_class=2, channels=4, warm=1, push_every=1, last=1, rounds=1, prune=(3, 1))
SETS = (HyperSet(batch_size=8, head_rate=1e-3),)
CASE_STUDY = STUDY.model_copy(
    update={
        "name": "cases",
        "training": STUDY.training.model_copy(update={"prototypes": CASES}),
        "grid": GridConfig(system="prototype", backbones=("vgg11_bn",), strategies=("gradual",), sets=SETS),
        "evaluation": EvaluationConfig(methods=("prototypes", "grad_cam"), resamples=100, randomisation_samples=2),
    }
)


@pytest.fixture
def done(engine: Engine, plan: Callable[[StudyConfig], Planned]) -> Planned:
    """The study, trained and evaluated."""
    planned = plan(CASE_STUDY)
    evaluate.plan_evaluations(planned.study_id)
    since = datetime.now(UTC)
    assert train_run.fn(planned.runs[0], "run", since) == "finished"
    assert evaluate.evaluate_run.fn(planned.study_id, planned.runs[0], "run", since) == "finished"
    evaluate.compare_runs.fn(planned.study_id)
    return planned


def test_the_record_knows_every_prototype_and_what_it_matches(engine: Engine, done: Planned) -> None:
    with engine.connect() as connection:
        epochs = connection.execute(text("SELECT phase FROM epoch ORDER BY epoch")).scalars().all()
        kept = frame(connection, "SELECT * FROM prototypes WHERE kept")
        every = frame(connection, "SELECT * FROM prototypes ORDER BY number")
        matches = frame(connection, "SELECT * FROM prototype_matches")
        splits = connection.execute(
            text(
                "SELECT DISTINCT s.split FROM prototypes AS p"
                " CROSS JOIN unnest(p.neighbours || p.source_id) AS near (id) JOIN sample AS s ON s.id = near.id"
            )
        )
        assert list(splits.scalars()) == ["train"]
        logits = frame(
            connection,
            "SELECT m.sample_id, sum(m.similarity * w.value) AS logit, w.ordinal FROM prototype_matches AS m"
            " JOIN prototypes AS p USING (study_id, run_id, number)"
            " CROSS JOIN unnest(p.weights) WITH ORDINALITY AS w (value, ordinal) GROUP BY m.sample_id, w.ordinal"
            " ORDER BY m.sample_id, w.ordinal",
        )
        probabilities = frame(connection, "SELECT sample_id, probabilities FROM prediction ORDER BY sample_id")
        rows = frame(connection, "SELECT * FROM activation_precisions")
        inside = frame(connection, "SELECT value FROM run_scores WHERE score = 'explained_inside'")
    assert epochs == [1, 2, 3, 4]
    assert every.height == 6 and every["number"].to_list() == list(range(1, 7)) and 3 <= kept.height <= 6
    assert matches.height == kept.height * 3 and set(matches["number"]) == set(kept["number"])
    assert matches["points"].to_list() == pytest.approx((matches["similarity"] * matches["weight"]).to_list())
    for sample_id, given in probabilities.rows():
        own = logits.filter(sample_id=sample_id)["logit"]
        soft = (own - own.max()).exp()
        assert (soft / soft.sum()).to_list() == pytest.approx(given, abs=1e-4)
    methods = {"prototypes", "grad_cam", "each_prototype"}
    assert set(rows["method"]) == methods and rows.filter(pl.col("code").is_null()).height == 3
    assert inside.height >= 2
    background = matches.filter(true_code="B")
    assert set(background["reason"]) == {"background"} and background["iou"].null_count() == background.height


def test_the_page_shows_what_every_patch_looks_like(engine: Engine, done: Planned) -> None:
    page = report.render_report.fn(done.study_id).read_text()
    found = re.search(r'id="gallery-data">(.*?)</script>', page, re.S)
    assert found is not None
    shown = json.loads(found[1])
    run = shown["cases"]["runs"][str(done.runs[0])]
    assert {len(likeness) for likeness in run["likeness"].values()} == {len(run["prototypes"])}
    for prototype in run["prototypes"]:
        x, y, width, height = prototype["box"]
        assert 0 <= x <= x + width <= 64 and 0 <= y <= y + height <= 64
        images = [prototype["key"], *(near["key"] for near in prototype["near"])]
        assert all(shown["cases"]["images"][key].startswith("data:image/webp") for key in images)
        assert len(prototype["weights"]) == len(shown["classes"])
    assert 'id="prototypes"' in page and 'name="prototype"' in page
    with engine.connect() as connection:
        data = reports.report_data(connection, done.study_id)
    assert data.frames["epochs"].select("compares", "weighs").rows() == [(True, False)] * 2 + [(False, True)] * 2
    assert all(f"{words}</text>" in page for words in ("warm", "joint", "last"))
    said = sentences(data)
    assert any("different training patches" in sentence for sentence in said)
    low = {"value": pl.lit(0.01), "low": pl.lit(0.0), "high": pl.lit(0.02)} | {
        name: pl.lit(-0.1) for name in ("difference", "difference_low", "difference_high")
    }
    below = data.frames["activation_precisions"].with_columns(**low)
    blind = type(data)(data.study, data.frames | {"activation_precisions": below}, data.sql)
    assert any("Every prototype of the class" in s and "at or below chance" in s for s in sentences(blind))


def test_a_black_box_of_the_record_stands_beside_its_prototypes(
    engine: Engine, plan: Callable[[StudyConfig], Planned]
) -> None:
    """Found by the digest that the run began with; on the same lesions."""
    first = plan(
        STUDY.model_copy(update={"grid": GridConfig(backbones=("vgg11_bn",), strategies=("simultaneous",), sets=SETS)})
    )
    since = datetime.now(UTC)
    evaluate.plan_evaluations(first.study_id)
    assert train_run.fn(first.runs[0], "black box", since) == "finished"
    assert evaluate.evaluate_run.fn(first.study_id, first.runs[0], "black box", since) == "finished"
    with engine.connect() as connection:
        digest = studies.run_row(connection, first.runs[0]).digest
    training = CASE_STUDY.training.model_copy(update={"start": digest})
    planned = plan(CASE_STUDY.model_copy(update={"training": training}))
    evaluate.plan_evaluations(planned.study_id)
    assert train_run.fn(planned.runs[0], "run", since) == "finished"
    assert evaluate.evaluate_run.fn(planned.study_id, planned.runs[0], "run", since) == "finished"
    with engine.connect() as connection:
        data = reports.report_data(connection, planned.study_id)
    rows = data.frames["activation_precisions"].filter("black_box")
    assert set(rows["method"]) == {"grad_cam"} and rows["run_id"].unique().to_list() == list(planned.runs)
    assert data.frames["black_boxes"].height == 1
    assert any("black box that it started from" in sentence for sentence in sentences(data))
    assert report.render_report.fn(planned.study_id).exists()
    assert isinstance(report.write_card.fn(planned.study_id), Path)
