"""The prompt on the record, backup, restore and upgrade: as a person runs them."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from tempfile import TemporaryFile
from typing import Any

import psutil
import psycopg
import pytest
from sqlalchemy import create_engine, make_url, text
from sqlalchemy.exc import DBAPIError

from commands.__main__ import main
from db import clients
from db.engine import database_url, make_engine, parse
from db.postgres import server
from tests.full_postgres import PASSWORD, FullPostgres
from tests.record.makers import fill

ROOT = Path(__file__).resolve().parents[2]
PAGE = (ROOT / "docs" / "record.md").read_text()


def psql(query: str, *options: str) -> subprocess.CompletedProcess[str]:
    """The command on standard input, in a copy of this process: it becomes psql."""
    with TemporaryFile() as given, TemporaryFile() as out, TemporaryFile() as errors:
        given.write(query.encode())
        child = os.fork()
        if child == 0:
            given.seek(0)
            for number, file in enumerate((given, out, errors)):
                os.dup2(file.fileno(), number)
            os._exit(main(["sql", *options]))
        status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
        for file in (out, errors):
            file.seek(0)
        return subprocess.CompletedProcess(["psql"], status, out.read().decode(), errors.read().decode())


def test_sql_on_standard_input_is_answered_up_to_the_first_error(filled_url: str) -> None:
    done = psql("SELECT backbone, accuracy FROM table_2_accuracy ORDER BY run_id; SELECT nonsense; SELECT 7;", "--csv")
    assert done.returncode != 0 and "nonsense" in done.stderr
    lines = done.stdout.splitlines()
    assert lines[0] == "backbone,accuracy" and len(lines) == 3


def test_sql_may_be_given_as_it_is(filled_url: str) -> None:
    done = psql("", "SELECT count(*) AS runs FROM table_2_accuracy", "--csv")
    assert done.returncode == 0 and done.stdout.split() == ["runs", "2"], done.stderr


def test_the_prompt_reads_only_unless_it_is_to_write(filled_url: str) -> None:
    change = "CREATE TABLE mine AS SELECT 1 AS n; SELECT n FROM mine;"
    refused = psql(change)
    assert refused.returncode != 0 and "read-only transaction" in refused.stderr
    done = psql(change, "--write", "-At")
    assert (done.returncode, done.stdout.splitlines()[-1]) == (0, "1"), done.stderr


def test_a_password_travels_in_the_environment_and_tls_options_with_it() -> None:
    options = "sslmode=verify-full&sslrootcert=/ca.pem&ssl_min_protocol_version=TLSv1.3&sslcrldir=/crl"
    url = make_url(f"postgresql+psycopg://ann:s%40fe@db.example:5433/record?{options}")
    found = clients.environment(url, {"PATH": "/bin"})
    assert found == {
        "PATH": "/bin", "PGHOST": "db.example", "PGPORT": "5433", "PGUSER": "ann", "PGPASSWORD": "s@fe",
        "PGDATABASE": "record", "PGSSLMODE": "verify-full", "PGSSLROOTCERT": "/ca.pem",
        "PGSSLMINPROTOCOLVERSION": "TLSv1.3", "PGSSLCRLDIR": "/crl",
    }  # fmt: skip


def test_several_hosts_are_those_that_the_engine_connects_to() -> None:
    found = clients.environment(make_url("postgresql+psycopg://u@/d?host=a:1&host=b:2"), {})
    assert found == {"PGHOST": "a,b", "PGPORT": "1,2", "PGUSER": "u", "PGDATABASE": "d"}


def test_an_unknown_option_is_named() -> None:
    with pytest.raises(ValueError, match="fancy"):
        clients.environment(make_url("postgresql+psycopg://h/d?fancy=1"), {})


@pytest.mark.parametrize("command", [["sql"], ["backup", "none.dump"], ["migrate"]], ids=str)
@pytest.mark.parametrize(
    ("url", "said"),
    [
        ("postgresql://u:secret@127.0.0.1:1/d", "the record cannot be reached or used: connection failed"),
        ("postgresql://u:half@secret@127.0.0.1:1/d", "holds an @, which is written %40"),
        ("secret", "is not a URL"),
        ("postgresql://u:secret@127.0.0.1:1/d?fancy=1", 'invalid connection option "fancy"'),
    ],
)
def test_a_command_that_cannot_reach_the_record_says_so_in_one_line(
    command: list[str], url: str, said: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("LESIONLENS_DATABASE_URL", url)
    assert main(command) == 2
    found = capsys.readouterr()
    (line,) = found.err.splitlines()
    assert found.out == "" and line.startswith("lesionlens: ") and said in line and "secret" not in line


def test_a_machine_without_client_programs_is_told_what_to_install(
    database_url: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    assert main(["backup", str(tmp_path / "record.dump")]) == 2
    assert "no pg_dump on this machine" in capsys.readouterr().err


SUMS = text("SELECT (SELECT md5(string_agg(pixels::text, '' ORDER BY id)) FROM sample),"
            " (SELECT md5(string_agg(s::text, '' ORDER BY s::text)) FROM sample_results AS s),"
            " (SELECT md5(string_agg(r::text, '' ORDER BY id)) FROM run_score AS r)")  # fmt: skip


def sums(url: str, role: str = "none") -> tuple[object, ...]:
    """What the record at the URL holds, in short; the views as that role sees them."""
    engine = create_engine(parse(url))
    try:
        with engine.connect() as connection:
            found = tuple(connection.execute(SUMS).one())
            connection.execute(text("SELECT set_config('role', :role, false)"), {"role": role})
            return (*found, connection.scalar(text("SELECT count(*) FROM sample_results")))
    finally:
        engine.dispose()


@pytest.fixture
def backed_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """A filled embedded record and its backup: (sums, file); the environment names a new home, whose record is new."""
    monkeypatch.delenv("LESIONLENS_DATABASE_URL", raising=False)
    homes = [tmp_path / "old", tmp_path / "new"]
    file = tmp_path / "record.dump"
    try:
        monkeypatch.setenv("LESIONLENS_HOME", str(homes[0]))
        engine = make_engine()
        with engine.begin() as connection:
            fill(connection)
        engine.dispose()
        before = sums(database_url())
        assert main(["backup", str(file)]) == 0
        assert not file.with_name("record.dump.part").exists()
        monkeypatch.setenv("LESIONLENS_HOME", str(homes[1]))
        yield before, file
    finally:
        for home in homes:
            server.stop(home / "record")


def test_a_backup_fills_a_new_home_whole_or_not_at_all(backed_up: Any, capsys: pytest.CaptureFixture[str]) -> None:
    """Its server knows no role that reads yet."""
    before, file = backed_up
    half = file.with_name("half.dump")
    half.write_bytes(file.read_bytes()[: file.stat().st_size // 2])
    assert main(["restore", str(half)]) == 2
    assert "lesionlens: pg_restore failed" in capsys.readouterr().err
    assert main(["restore", str(file)]) == 0  # still empty
    assert sums(database_url(), role="lesionlens_reader") == before
    assert main(["restore", str(file)]) == 2
    assert "not empty" in capsys.readouterr().err


def test_a_named_server_is_backed_up_and_restored_without_showing_its_password(
    full: FullPostgres, backed_up: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An older one, from the backup of the embedded one, too."""
    shown: list[list[str]] = []
    real = subprocess.Popen.__init__

    def watched(process: Any, command: list[str], *rest: Any, **options: Any) -> None:
        shown.append(command)
        real(process, command, *rest, **options)

    monkeypatch.setattr(subprocess.Popen, "__init__", watched)
    file, before = tmp_path / "named.dump", sums(full.url("record"))
    with psycopg.connect(full.url("postgres"), autocommit=True) as connection:
        connection.execute("CREATE DATABASE copied")
        connection.execute("CREATE DATABASE moved")
    monkeypatch.setenv("LESIONLENS_DATABASE_URL", full.url("record"))
    assert main(["backup", str(file)]) == 0
    for source, database, expected in ((file, "copied", before), (backed_up[1], "moved", backed_up[0])):
        monkeypatch.setenv("LESIONLENS_DATABASE_URL", full.url(database))
        assert main(["restore", str(source)]) == 0
        assert sums(full.url(database), role="lesionlens_reader") == expected
    assert {"pg_dump", "pg_restore", "psql"} <= {Path(command[0]).name for command in shown}
    assert not [command for command in shown if PASSWORD in " ".join(map(str, command))]


def test_a_missing_backup_is_named(database_url: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["restore", str(tmp_path / "none.dump")]) == 2
    assert "none.dump" in capsys.readouterr().err


def test_a_backup_that_cannot_be_written_leaves_nothing(
    full: FullPostgres, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["backup", str(tmp_path / "missing" / "record.dump")]) == 2
    assert "pg_dump failed" in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


def test_a_prompt_shows_no_password_to_other_users(full: FullPostgres) -> None:
    with subprocess.Popen(
        [sys.executable, "-m", "commands", "sql"], cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as prompt:
        assert prompt.stdin is not None and prompt.stdout is not None
        prompt.stdin.write("SELECT 1;\n")
        prompt.stdin.flush()
        assert "1" in prompt.stdout.readline() + prompt.stdout.readline() + prompt.stdout.readline()
        shown = psutil.Process(prompt.pid).cmdline()
        prompt.stdin.close()
    assert Path(shown[0]).name == "psql"
    assert PASSWORD not in " ".join(shown)


@pytest.mark.skipif(shutil.which("openssl") is None, reason="needs openssl to make a certificate")
def test_engine_prompt_and_backup_speak_tls_where_the_url_says_so(
    full: FullPostgres, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    data, authority = full.folder / "data", tmp_path / "ca.pem"
    made = ["openssl", "req", "-new", "-x509", "-nodes", "-subj", "/CN=test", "-addext", "subjectAltName=IP:127.0.0.1",
            "-out", data / "server.crt", "-keyout", data / "server.key"]  # fmt: skip
    subprocess.run(made, check=True, capture_output=True)
    authority.write_bytes((data / "server.crt").read_bytes())
    (data / "server.key").chmod(0o600)
    for name in ("server.crt", "server.key"):
        shutil.chown(data / name, full.user)
    url = full.url("record") + f"?sslmode=verify-full&sslrootcert={authority}"
    with pytest.raises(DBAPIError, match="SSL"):
        create_engine(parse(url)).connect()
    with psycopg.connect(full.url("postgres"), autocommit=True) as connection:
        connection.execute("ALTER SYSTEM SET ssl = on")
        connection.execute("SELECT pg_reload_conf()")
    monkeypatch.setenv("LESIONLENS_DATABASE_URL", url)
    encrypted = "SELECT ssl FROM pg_stat_ssl WHERE pid = pg_backend_pid()"
    with make_engine().connect() as connection:
        assert connection.scalar(text(encrypted)) is True
    done = psql(encrypted + ";", "--csv")
    assert done.stdout == "ssl\nt\n", done.stderr
    assert main(["backup", str(tmp_path / "record.dump")]) == 0
    authority.write_text("")  # now nobody vouches for the server
    make_engine().dispose()
    assert main(["backup", str(tmp_path / "record.dump")]) == 2


def test_a_person_with_the_readers_rights_uses_the_prompt(full: FullPostgres, monkeypatch: pytest.MonkeyPatch) -> None:
    """As docs/record.md gives them."""
    (made,) = re.findall(r"^(CREATE ROLE .* IN ROLE lesionlens_reader);", PAGE, flags=re.MULTILINE)
    with psycopg.connect(full.url("record"), autocommit=True) as connection:
        connection.execute(made)
    address = make_url(full.url("record")).set(username="ann", password="...")
    monkeypatch.setenv("LESIONLENS_DATABASE_URL", address.render_as_string(hide_password=False))
    done = psql("SELECT count(*) > 0 AS seen FROM sample_results;", "--csv")
    assert (done.returncode, done.stdout) == (0, "seen\nt\n"), done.stderr
    with psycopg.connect(full.url("record"), autocommit=True) as owner:  # as after an update that she has and he lacks
        owner.execute("COMMENT ON TABLE alembic_version IS 'another schema'")
    done = psql("SELECT * FROM sample;")
    assert done.returncode != 0 and "permission denied for table sample" in done.stderr


def test_a_reader_made_later_is_given_the_views(
    full: FullPostgres, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """On a server whose administrator alone makes roles."""
    with psycopg.connect(full.url("postgres"), autocommit=True) as connection:
        connection.execute("CREATE ROLE plain LOGIN PASSWORD 'plain'")
        connection.execute("CREATE DATABASE plain OWNER plain")
        if connection.execute("SELECT 1 FROM pg_roles WHERE rolname = 'lesionlens_reader'").fetchone():
            connection.execute("ALTER ROLE lesionlens_reader RENAME TO another_reader")
        url = make_url(full.url("plain")).set(username="plain", password="plain")
        monkeypatch.setenv("LESIONLENS_DATABASE_URL", url.render_as_string(hide_password=False))
        assert main(["migrate"]) == 0
        assert "ask an administrator" in capsys.readouterr().err
        with psycopg.connect(url.render_as_string(hide_password=False)) as owner:
            owner.execute("CREATE VIEW of_somebody_else AS SELECT 1 AS n")
        connection.execute("CREATE ROLE lesionlens_reader")
        assert main(["migrate"]) == 0
        assert capsys.readouterr().err == ""
    with psycopg.connect(full.url("plain")) as connection:
        connection.execute("SET ROLE lesionlens_reader")
        assert connection.execute("SELECT count(*) FROM sample_results").fetchone() == (0,)
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            connection.execute("SELECT * FROM of_somebody_else")


def test_a_throw_away_server_checks_the_migrations(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("LESIONLENS_HOME", str(tmp_path))
    assert main(["migrate", "--check"]) == 0
    assert list(tmp_path.iterdir()) == []
