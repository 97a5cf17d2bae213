"""The prompt on the record, backup and restore: as a person runs them."""

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from sqlalchemy import Engine, create_engine, make_url, text

from db import backup
from db.psql import environment

ROOT = Path(__file__).resolve().parents[2]


def psql(query: str, *options: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "db.psql", *options], cwd=ROOT, input=query, capture_output=True, text=True, timeout=60
    )


def test_sql_on_standard_input_is_answered(engine: Engine, filled: object) -> None:
    done = psql("SELECT backbone, accuracy FROM table_2_accuracy ORDER BY run_id;", "--csv")
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[0] == "backbone,accuracy"
    assert len(done.stdout.splitlines()) == 3


def test_wrong_sql_fails(engine: Engine) -> None:
    assert psql("SELECT nonsense;").returncode != 0


def test_a_password_travels_in_the_environment_and_tls_options_with_it() -> None:
    url = make_url("postgresql+psycopg://ann:s%40fe@db.example:5433/record?sslmode=verify-full&sslrootcert=/ca.pem")
    found = environment(url, {"PATH": "/bin"})
    assert found == {
        "PATH": "/bin", "PGHOST": "db.example", "PGPORT": "5433", "PGUSER": "ann", "PGPASSWORD": "s@fe",
        "PGDATABASE": "record", "PGSSLMODE": "verify-full", "PGSSLROOTCERT": "/ca.pem",
    }  # fmt: skip


def test_an_unknown_option_is_named() -> None:
    with pytest.raises(ValueError, match="fancy"):
        environment(make_url("postgresql+psycopg://h/d?fancy=1"), {})


def test_a_backup_restores_every_row(
    engine: Engine, filled: object, tmp_path: Path, new_database: Callable[..., str], monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "record.dump"
    assert backup.main(["dump", str(file)]) == 0
    assert not file.with_name("record.dump.part").exists()
    assert backup.main(["restore", str(file)]) == 1  # not empty
    url = new_database(migrated=False)
    monkeypatch.setitem(os.environ, "LESIONLENS_DATABASE_URL", url)
    assert backup.main(["restore", str(file)]) == 0
    restored = create_engine(url)
    sums = text("SELECT (SELECT md5(string_agg(pixels::text, '' ORDER BY id)) FROM patch),"
                " (SELECT md5(string_agg(s::text, '' ORDER BY s::text)) FROM sample_results AS s),"
                " (SELECT md5(string_agg(r::text, '' ORDER BY id)) FROM run_score AS r)")  # fmt: skip
    with engine.connect() as before, restored.connect() as after:
        assert before.execute(sums).one() == after.execute(sums).one()
    restored.dispose()


def test_a_missing_backup_is_named(engine: Engine, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert backup.main(["restore", str(tmp_path / "none.dump")]) == 1
    assert "none.dump" in capsys.readouterr().err
