"""What is listed of the record, and what goes with a study: nothing that another study has."""

import polars as pl
import pytest
from sqlalchemy import Connection, text

from commands.__main__ import main
from db import reports, studies
from db.queries import catalogue
from db.reports import save_comparison, save_report
from lesionlens.identity import digest
from tests.record.makers import CONFIG, Filled

TABLES = ("study", "run", "evaluation", "prediction", "epoch", "checkpoint", "sample_set", "sample", "dataset", "image")


def counts(connection: Connection) -> dict[str, int]:
    found = {name: connection.execute(text(f"SELECT count(*) FROM {name}")).scalar_one() for name in TABLES}  # noqa: S608
    return {name: int(n) for name, n in found.items()}


def second_study(connection: Connection, filled: Filled, runs: tuple[int, ...]) -> int:
    """Another study over the same samples that has some of the runs."""
    kept = CONFIG.model_dump(mode="json")
    number = studies.save_study(connection, digest("second"), "second", kept, digest("e"), filled.sample_set, {})
    for run in runs:
        connection.execute(text("INSERT INTO study_run VALUES (:study, :run, 'x')"), {"study": number, "run": run})
    return number


def test_a_study_is_listed_with_progress_size_and_answer(connection: Connection, filled: Filled) -> None:
    (row,) = catalogue.studies(connection).to_dicts()
    assert (row["study_id"], row["runs"], row["evaluated"], row["failed"]) == (filled.study, 2, 2, 0)
    stored = "SELECT sum(bytes) FROM (SELECT DISTINCT run_id, path, bytes FROM checkpoint) AS x"
    assert row["weight_bytes"] == connection.scalar(text(stored))
    assert row["verdict"].startswith("detection ")
    runs = catalogue.runs(connection, filled.study)
    assert runs["run_id"].to_list() == list(filled.runs) and runs["accuracy"].null_count() == 0
    assert runs["weight_bytes"].sum() == row["weight_bytes"]


def test_reports_are_listed_with_answer_and_scores_the_newest_first(connection: Connection, filled: Filled) -> None:
    (row,) = catalogue.reports(connection).to_dicts()
    best = connection.execute(text("SELECT min(run_id) FROM answers")).scalar_one()
    ends = ("", "_low", "_high")
    accuracy = text("SELECT accuracy, low, high FROM table_2_accuracy WHERE run_id = :run")
    assert tuple(connection.execute(accuracy, {"run": best}).one()) == tuple(row[f"accuracy{end}"] for end in ends)
    located = text("SELECT ll FROM table_4_localization WHERE headline AND run_id = :run")
    ll = connection.scalar(located, {"run": best})
    assert row["ll"] == ll and row["verdict"].startswith("detection ")
    other = second_study(connection, filled, ())
    save_report(connection, other, "other.html", b"other")
    listed = catalogue.reports(connection)
    assert listed["study_id"][0] == other and listed["rendered_at"][0] is not None and listed["accuracy"][0] is None
    number = save_comparison(connection, "/x/compare-1-2.html", b"both")
    assert catalogue.comparisons(connection).row(0)[:2] == (number, "/x/compare-1-2.html")


def test_a_study_goes_with_all_that_is_its_own(connection: Connection, filled: Filled) -> None:
    gone = catalogue.freed(connection, filled.study)
    assert [number for number, _, _ in gone.runs] == list(filled.runs) and gone.shared_runs == 0
    assert gone.weight_bytes == catalogue.studies(connection)["weight_bytes"].sum()
    assert gone.samples == counts(connection)["sample"] > 0
    catalogue.remove(connection, gone)
    assert counts(connection) == dict.fromkeys(TABLES, 0)


def test_what_another_study_has_stays(connection: Connection, filled: Filled) -> None:
    first, shared = filled.runs
    other = second_study(connection, filled, (shared,))
    gone = catalogue.freed(connection, filled.study)
    assert [number for number, _, _ in gone.runs] == [first] and gone.shared_runs == 1
    assert (gone.sample_set, gone.dataset, gone.samples) == (None, None, 0)
    before = counts(connection)
    kept = connection.execute(
        text("SELECT * FROM prediction WHERE evaluation_id = :e"), {"e": filled.evaluations[1]}
    ).all()
    catalogue.remove(connection, gone)
    after = counts(connection)
    assert after == before | {
        "study": 1, "run": 1, "evaluation": 1, "prediction": len(kept), "epoch": 2,
        "checkpoint": before["checkpoint"] // 2,
    }  # fmt: skip
    assert catalogue.studies(connection)["study_id"].to_list() == [other]


def test_the_commands_list_and_delete(filled_url: str, filled: Filled, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["list"]) == 0
    assert "tiny" in capsys.readouterr().out
    assert main(["delete", "tiny", "--dry-run"]) == 0
    assert "2 go" in capsys.readouterr().out
    assert main(["delete", "tiny"]) == 2  # nobody is asked here
    assert "--yes" in capsys.readouterr().err
    assert main(["list", "tiny"]) == 0
    assert "finished" in capsys.readouterr().out
    assert main(["delete", "tiny", "--yes"]) == 0
    capsys.readouterr()
    assert main(["list"]) == 0
    assert "no study yet" in capsys.readouterr().out


def test_a_narrow_terminal_shows_names_whole(
    filled_url: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("COLUMNS", "40")
    assert main(["list"]) == 0
    assert "…" not in capsys.readouterr().out


def test_an_unknown_study_is_named(connection: Connection) -> None:
    with pytest.raises(ValueError, match="no study 99"):
        catalogue.freed(connection, 99)
    assert isinstance(catalogue.studies(connection), pl.DataFrame)


def test_a_study_is_finished_where_nothing_of_it_is_left_to_do(connection: Connection, filled: Filled) -> None:
    number = connection.scalar(text("SELECT digest FROM study"))
    identity = connection.scalar(text("SELECT evaluation_digest FROM study"))
    reports.save_report(connection, filled.study, "/reports/tiny.html", b"<p>newest</p>")
    assert catalogue.finished(connection, number, identity) == (filled.study, "/reports/tiny.html")
    assert catalogue.finished(connection, digest("another"), identity) is None
    assert catalogue.finished(connection, number, digest("another revision")) is None
    studies.forget_training(connection, filled.runs[0])
    assert catalogue.finished(connection, number, identity) is None
