"""Results of a study as frames and files: numbers that other programs read back."""

import json
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from sqlalchemy import Connection

import lesionlens
from commands.__main__ import main
from db import schema
from db.queries.results import VIEWS, flat, read, write
from tests.record.makers import Filled


@pytest.fixture
def frames(connection: Connection, filled: Filled) -> dict[str, pl.DataFrame]:
    return read(connection, filled.study)


def test_every_frame_is_of_this_study_alone(frames: dict[str, pl.DataFrame], filled: Filled) -> None:
    assert set(frames) == {"sample_results", "maps", *VIEWS} and set(VIEWS) <= set(schema.views())
    for name, found in frames.items():
        assert set(found["study_id"].unique()) <= {filled.study}, name
    samples, maps = frames["sample_results"], frames["maps"]
    assert set(samples["run_id"]) == set(filled.runs) and samples["iou"].dtype == pl.Float64
    grid = maps.filter(pl.col("grid").is_not_null()).row(0, named=True)
    assert len(grid["grid"]) == grid["rows"] * grid["cols"]


@pytest.mark.parametrize("form", ["parquet", "csv", "json"])
def test_files_hold_the_same_numbers(frames: dict[str, pl.DataFrame], tmp_path: Path, form: Any) -> None:
    files = write(frames, tmp_path / "out", form)
    assert {path.stem for path in files} == set(frames)
    path = tmp_path / "out" / f"sample_results.{form}"
    read_back = {
        "parquet": pl.read_parquet,
        "csv": pl.read_csv,
        "json": lambda p: pl.DataFrame(json.loads(p.read_text())),
    }
    found = read_back[form](path)
    assert found["iou"].to_list() == pytest.approx(frames["sample_results"]["iou"].to_list(), nan_ok=True)
    with pytest.raises(ValueError, match="is there already"):
        write(frames, tmp_path / "out", form)


def test_duckdb_has_a_table_for_each(frames: dict[str, pl.DataFrame], tmp_path: Path) -> None:
    duckdb = pytest.importorskip("duckdb")
    write(frames, tmp_path / "study.duckdb", "duckdb")
    with duckdb.connect(str(tmp_path / "study.duckdb"), read_only=True) as connection:
        assert {name for (name,) in connection.execute("SELECT table_name FROM duckdb_tables()").fetchall()} == set(
            frames
        )
        (mean,) = connection.execute("SELECT avg(iou) FROM sample_results").fetchone()
    assert mean == pytest.approx(frames["sample_results"]["iou"].mean())


def test_a_missing_duckdb_is_told_with_its_remedy(
    frames: dict[str, pl.DataFrame], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(__import__("sys").modules, "duckdb", None)
    with pytest.raises(ImportError, match=r"lesionlens\[duckdb\]"):
        write(frames, tmp_path / "study.duckdb", "duckdb")
    assert list(tmp_path.iterdir()) == []


def test_lists_are_json_where_only_plain_values_fit() -> None:
    found = flat(pl.DataFrame({"n": [1, 2], "grid": [[0.5, 1.0], None]}))
    assert found["grid"].to_list() == ["[0.5, 1.0]", None] and found["n"].dtype == pl.Int64


def test_python_and_the_command_read_by_name(
    filled_url: str, filled: Filled, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    frames = lesionlens.results("tiny")
    assert lesionlens.results(filled.study)["runs"].equals(frames["runs"])
    assert main(["results", "tiny", "--to", str(tmp_path / "out")]) == 0
    assert f"{len(frames)} files" in capsys.readouterr().out
    assert main(["results", "tiny", "--to", str(tmp_path / "out")]) == 2
    assert "is there already" in capsys.readouterr().err
    assert main(["results", "nobody"]) == 2
    assert "no study 'nobody'" in capsys.readouterr().err
    assert main(["connect"]) == 0
    assert capsys.readouterr().out.startswith("postgresql://")
