"""What is written comes back; writing twice changes nothing; what must not be stored is refused."""

from typing import Any

import numpy as np
import polars as pl
import pytest
from sqlalchemy import Engine, func, select, text
from sqlalchemy.exc import IntegrityError

from db import read, tables, write
from lesionlens.config import EvaluationConfig
from lesionlens.records import SampleArrays


def counts(engine: Engine) -> dict[str, int]:
    with engine.connect() as connection:
        return {t.name: connection.scalar(select(func.count()).select_from(t)) for t in tables.metadata.sorted_tables}


def test_patches_come_back_bit_for_bit(engine: Engine, tiny: Any) -> None:
    with engine.begin() as connection:
        sample_set_id = tiny.save_patches(connection)
    with engine.connect() as connection:
        found = read.load_samples(connection, sample_set_id)
    given = tiny.make_patches()
    assert isinstance(found, SampleArrays)
    assert found.classes == ("B", "BM", "MM")
    assert found.groups == ("background", "mass", "mass")
    assert (np.diff(found.ids) > 0).all()
    assert found.labels.tolist() == [n % 3 for n in range(12)]
    for n, patch in enumerate(given):
        assert (found.pixels[n] == patch.pixels).all()
        assert found.parts[n] == patch.split
        assert found.patients[n] == patch.patient
        assert found.has_mask[n] == (patch.mask is not None)
        assert (found.masks[n] == (patch.mask if patch.mask is not None else False)).all()
    assert [(s.label, s.mean, s.std) for s in found.statistics] == [(None, 0.4, 0.2), ("MM", 0.5, 0.25)]


def test_filling_twice_changes_nothing(engine: Engine, filled: Any, tiny: Any) -> None:
    before = counts(engine)
    with engine.begin() as connection:
        again = tiny.fill(connection)
    assert again == filled
    assert counts(engine) == before
    assert all(before[name] for name in before if name not in {"report", "comparison_page"})


def test_runs_go_from_pending_to_evaluated(engine: Engine, tiny: Any) -> None:
    with engine.begin() as connection:
        sample_set_id = tiny.save_patches(connection)
        study_id, (first, second) = tiny.save_study(connection, sample_set_id)
        assert [number for number, _ in read.runs_to_train(connection, study_id)] == [first, second]
        write.start_run(connection, first, "cpu")
        write.fail_run(connection, first, "loss is NaN\0")
        assert read.run_row(connection, first).status == "failed"
        write.start_run(connection, first, "cpu")
        write.save_epoch(connection, first, tiny.make_epoch(1))
        write.finish_run(connection, first)
        assert [number for number, _ in read.runs_to_train(connection, study_id)] == [second]
        assert [number for number, _ in read.runs_to_evaluate(connection, study_id)] == [first]
        evaluation = tiny.evaluate_run(connection, first)
        assert read.find_evaluation(connection, first, tiny.IDENTITY) == evaluation
        assert read.runs_to_evaluate(connection, study_id) == []
        progress = read.study_progress(connection, study_id)
    assert progress == {"pending": 1, "running": 0, "finished": 1, "failed": 0, "evaluated": 1}


def test_an_epoch_trained_again_replaces_what_followed(engine: Engine, filled: Any, tiny: Any) -> None:
    run_id = filled.runs[0]
    with engine.begin() as connection:
        write.save_epoch(connection, run_id, tiny.make_epoch(1, 0.25))
        found = read.epochs(connection, run_id)
        last = read.checkpoints(connection, run_id)
    assert found.select("epoch", "train_loss").rows() == [(1, 0.25)]
    assert [(c.role, c.epoch) for c in last] == [("best", 1), ("last", 1)]


def test_numbers_that_are_not_finite_are_refused_by_name(engine: Engine, filled: Any, tiny: Any) -> None:
    with engine.begin() as connection:
        test = read.load_samples(connection, filled.sample_set).split("test")
        good = tiny.make_evaluation(test.ids.tolist(), test.labels.tolist())
        nan = good.localizations.with_columns(iou=pl.lit(float("nan")))
        inf = good.explanations.with_columns(grid=pl.lit([float("inf")] * 4, dtype=pl.List(pl.Float32)))
        for column, bad in (("localization.iou", {"localizations": nan}), ("explanation.grid", {"explanations": inf})):
            fields = {name: getattr(good, name) for name in good.__slots__} | bad
            with pytest.raises(ValueError, match=column):
                write.save_evaluation(connection, filled.runs[0], column, EvaluationConfig(), 1.0, type(good)(**fields))
        with pytest.raises(ValueError, match=r"epoch\.train_loss"):
            write.save_epoch(connection, filled.runs[0], tiny.make_epoch(3, float("nan")))
        connection.rollback()


BAD = {
    "ck_prediction_total.*{}": "UPDATE prediction SET probabilities = '{}'",
    "ck_prediction_range.*NULL": "UPDATE prediction SET probabilities = '{0.5,0.5,NULL}'",
    "ck_activation_map_grid_finite.*NULL": "UPDATE activation_map SET grid = '{1,2,3,NULL}' WHERE grid IS NOT NULL",
    "ck_activation_map_iou_curve.*NULL": "UPDATE activation_map SET iou_curve = '{0.5,NULL}'",
    "ck_activation_map_null_has_reason": "UPDATE activation_map SET iou_curve = NULL WHERE reason IS NULL",
    "ck_comparison_values": "UPDATE comparison SET value_a = 'NaN'",
    "ck_comparison_differences": "UPDATE comparison SET low = 'NaN', high = 'NaN'",
    "ck_epoch_counts": "UPDATE epoch SET seconds = 'NaN'",
    "ck_run_rates": "UPDATE run SET head_rate = 'NaN'",
    "ck_prediction_total": "UPDATE prediction SET probabilities = '{0.5,0.1,0.1}'",
    "ck_prediction_range": "UPDATE prediction SET probabilities = '{1.5,-0.5,0}'",
    "ck_localization_iou": "UPDATE localization SET iou = 1.5",
    "ck_localization_null_has_reason": "UPDATE localization SET iou = NULL, reason = NULL",
    "ck_activation_map_grid_shape": "UPDATE activation_map SET rows = 3 WHERE grid IS NOT NULL",
    "ck_activation_map_grid_finite": "UPDATE activation_map SET grid = '{1,2,3,NaN}' WHERE grid IS NOT NULL",
    "ck_epoch_train_loss": "UPDATE epoch SET train_loss = 'NaN'",
    "ck_sample_window": "UPDATE sample SET window_x1 = window_x0",
    "leaves image .* of 300 x 500": "UPDATE sample SET window_y1 = 501",
    "patch .* leaves image": "UPDATE sample SET lesion_x1 = 301 WHERE lesion_id IS NOT NULL",
    "does not hold patch": "UPDATE image SET width = 109",
    "ck_image_size": "UPDATE image SET height = 0",
    "ck_image_whole_size": "UPDATE image SET height = NULL",
    "ck_sample_mask_fraction": "UPDATE sample SET mask_fraction = 1.01 WHERE mask_fraction IS NOT NULL",
    "ck_sample_lesion_has_mask": "UPDATE sample SET mask = NULL WHERE lesion_id IS NOT NULL",
    "ck_sample_part": "UPDATE sample SET part = 'holdout'",
    "ck_run_status": "UPDATE run SET status = 'lost', finished_at = NULL",
    "ck_run_reason": "UPDATE run SET status = 'failed'",
    "ck_run_score_range": "UPDATE run_score SET value = 'NaN'",
    "ck_checkpoint_sha256": "UPDATE checkpoint SET sha256 = 'short'",
    "fk_prediction_sample_id_sample": "UPDATE prediction SET sample_id = -sample_id",
    "uq_run_digest": "UPDATE run SET digest = 'same'",
    "uq_run_score_identity": "INSERT INTO run_score (evaluation_id, name, population, group_name, value, n)"
    " SELECT evaluation_id, name, population, group_name, value, n FROM run_score WHERE name = 'accuracy'",
}  # fmt: skip


@pytest.mark.parametrize("constraint", BAD)
def test_the_record_refuses_bad_rows(engine: Engine, filled: Any, constraint: str) -> None:
    with pytest.raises(IntegrityError, match=f"(?s){constraint}"), engine.begin() as connection:
        connection.execute(text(BAD[constraint]))


def test_report_data_holds_every_frame_with_rows(engine: Engine, filled: Any) -> None:
    with engine.begin() as connection:
        data = read.report_data(connection, filled.study)
        samples, _ = read.comparison_samples(connection, filled.study)
        study, inputs = read.report_inputs(connection, filled.study)
    assert [name for name, found in data.frames.items() if found.is_empty()] == []
    assert data.study["name"] == study.name == "tiny"
    assert len(inputs) == 2
    assert samples.columns == ["evaluation_id", "sample_id", "patient", "is_lesion", "correct", "iou"]
    headline = data.frames["table_4_localization"].filter("headline")
    assert headline.select("policy", "ll", "whole_patch", "random_weights").rows() == [
        ("validation", 0.5, 0.2, 0.1),
        ("validation", 0.4, 0.2, 0.1),
    ]


def test_reports_are_kept_once(engine: Engine, filled: Any) -> None:
    with engine.begin() as connection:
        first = write.save_report(connection, filled.study, "d", "/x.html", b"<p>page</p>")
        assert write.save_report(connection, filled.study, "d", "/x.html", b"other") == first
        assert read.find_report(connection, filled.study, "d") == b"<p>page</p>"
        assert read.find_report(connection, filled.study, "e") is None


@pytest.mark.parametrize("ask", [read.run_row, read.study_config, read.load_samples, read.report_data])
def test_unknown_ids_are_named(engine: Engine, ask: Any) -> None:
    with engine.connect() as connection, pytest.raises(ValueError, match="999"):
        ask(connection, 999)
