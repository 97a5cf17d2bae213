"""The embedded server's guards, each by causing what it guards against."""

import os
import pwd
import shutil
import signal
import stat
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import psycopg
import pytest
from sqlalchemy import make_url

from db import embedded, postgres
from db.postgres import ServerError

ROOT = Path(__file__).resolve().parents[2]
START = "import sys; from pathlib import Path; from db import embedded; print(embedded.start(Path(sys.argv[1])))"


def connect(url: str) -> psycopg.Connection:
    plain = make_url(url).set(drivername="postgresql").render_as_string(hide_password=False)
    return psycopg.connect(plain, autocommit=True)


def pid_of(folder: Path) -> int:
    return int((folder / "postmaster.pid").read_text().splitlines()[0])


def wait_until_gone(folder: Path) -> None:
    deadline = time.monotonic() + 20
    while embedded.find(folder) is not None:
        assert time.monotonic() < deadline
        time.sleep(0.02)


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[Path]:
    """Where a record may be made; its server is stopped at the end."""
    place = tmp_path / "home" / "record"
    yield place
    embedded.stop(place)


def test_it_starts_once_and_is_shared(folder: Path) -> None:
    url = embedded.start(folder)
    pid = pid_of(folder)
    assert embedded.start(folder) == url
    assert pid_of(folder) == pid
    with connect(url) as connection:
        assert connection.execute("SHOW data_checksums").fetchone() == ("on",)
        assert connection.execute("SHOW listen_addresses").fetchone() == ("",)
    assert embedded.stop(folder)
    assert not embedded.stop(folder)


def test_modes_of_folders_above_stay_as_they_are(folder: Path) -> None:
    folder.parent.mkdir(mode=0o700)
    before = {path: stat.S_IMODE(path.stat().st_mode) for path in folder.parents}
    embedded.start(folder)
    assert {path: stat.S_IMODE(path.stat().st_mode) for path in folder.parents} == before
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    assert stat.S_IMODE((folder / embedded.SOCKET).stat().st_mode) == 0o700


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become another user")
@pytest.mark.parametrize("opened", [False, True], ids=["as made", "all folders and the socket opened"])
def test_another_user_cannot_connect(folder: Path, opened: bool) -> None:
    folder.parent.mkdir(mode=0o700)
    url = embedded.start(folder)
    paths = [folder / embedded.SOCKET, folder, *folder.parents]
    modes = {path: stat.S_IMODE(path.stat().st_mode) for path in paths}
    nobody = pwd.getpwnam("nobody")
    client = postgres.server_bin() / "psql"
    try:
        if opened:  # then `peer` alone holds
            for path in paths:
                path.chmod(0o777)
        done = subprocess.run(
            [str(client), "-h", str(folder), "-U", "postgres", "-c", "SELECT 1", "postgres"],
            user=nobody.pw_uid, group=nobody.pw_gid, extra_groups=[], cwd="/", capture_output=True, text=True,
        )  # fmt: skip
    finally:
        for path, mode in modes.items():
            path.chmod(mode)
    assert done.returncode == 2, done.stdout
    assert ("authentication failed" if opened else "Permission denied") in done.stderr
    with connect(url) as connection:
        assert connection.execute("SELECT 1").fetchone() == (1,)


def test_an_open_data_folder_is_refused(folder: Path) -> None:
    embedded.start(folder)
    embedded.stop(folder)
    folder.chmod(0o755)
    with pytest.raises(ServerError, match="chmod 700"):
        embedded.start(folder)
    folder.chmod(0o700)


def test_a_stale_pid_file_never_harms_a_stranger(folder: Path) -> None:
    embedded.start(folder)
    lines = (folder / "postmaster.pid").read_text().splitlines()
    os.kill(pid_of(folder), signal.SIGKILL)
    wait_until_gone(folder)
    with subprocess.Popen(["sleep", "60"]) as stranger:
        try:
            (folder / "postmaster.pid").write_text("\n".join([str(stranger.pid), *lines[1:]]) + "\n")
            assert embedded.find(folder) is None
            assert not embedded.stop(folder)
            with connect(embedded.start(folder)) as connection:
                assert connection.execute("SELECT 1").fetchone() == (1,)
            assert pid_of(folder) != stranger.pid
            embedded.stop(folder)
            assert stranger.poll() is None
        finally:
            stranger.kill()


def test_a_postgres_of_another_folder_is_a_stranger(folder: Path, tmp_path: Path) -> None:
    other = tmp_path / "other" / "record"
    embedded.start(other)
    try:
        embedded.start(folder)
        embedded.stop(folder)
        (folder / "postmaster.pid").write_text((other / "postmaster.pid").read_text())
        assert embedded.find(folder) is None
        with connect(embedded.start(folder)):
            assert pid_of(folder) != pid_of(other)
        embedded.stop(folder)
        assert embedded.find(other) is not None
    finally:
        embedded.stop(other)


def test_a_zombie_postmaster_does_not_block(folder: Path) -> None:
    embedded.start(folder)
    embedded.stop(folder)
    user = postgres.server_user().pw_uid if os.geteuid() == 0 else None
    command = [str(postgres.server_bin() / "postgres"), "-D", embedded._data_argument(folder), "-k", "."]
    with subprocess.Popen(
        command, cwd=folder, user=user, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    ) as postmaster:
        deadline = time.monotonic() + 20
        while (found := embedded.find(folder)) is None or found.process.pid != postmaster.pid:
            assert time.monotonic() < deadline
            time.sleep(0.02)
        postmaster.kill()  # not waited for: stays a zombie
        while psutil.Process(postmaster.pid).status() != psutil.STATUS_ZOMBIE:
            assert time.monotonic() < deadline
            time.sleep(0.02)
        assert pid_of(folder) == postmaster.pid
        assert embedded.find(folder) is None
        with connect(embedded.start(folder)) as connection:
            assert connection.execute("SELECT 1").fetchone() == (1,)
        assert psutil.Process(postmaster.pid).status() == psutil.STATUS_ZOMBIE


def test_a_server_whose_folder_was_removed_does_not_block(folder: Path) -> None:
    embedded.start(folder)
    old = psutil.Process(pid_of(folder))
    old.suspend()  # it would notice within a minute, and end
    try:
        shutil.rmtree(folder)
        with connect(embedded.start(folder)) as connection:
            assert connection.execute("SELECT 1").fetchone() == (1,)
        assert pid_of(folder) != old.pid
    finally:
        old.kill()


def test_committed_rows_survive_a_killed_server_and_open_ones_do_not(folder: Path) -> None:
    url = embedded.start(folder)
    with connect(url) as connection:
        connection.execute("CREATE TABLE t (n int)")
        connection.execute("INSERT INTO t VALUES (1)")
    open_one = connect(url)
    with pytest.raises(psycopg.OperationalError), open_one.transaction():
        open_one.execute("INSERT INTO t SELECT generate_series(2, 10000)")
        os.kill(pid_of(folder), signal.SIGKILL)
        wait_until_gone(folder)
        open_one.execute("INSERT INTO t VALUES (-1)")
        open_one.execute("SELECT pg_sleep(5)")
    assert embedded.start(folder) == url
    with connect(url) as connection:
        assert connection.execute("SELECT n FROM t").fetchall() == [(1,)]


def test_it_outlives_a_killed_starter_and_serves_the_next(folder: Path) -> None:
    code = START + "\nimport sys, time; sys.stdout.flush(); time.sleep(60)"
    with subprocess.Popen([sys.executable, "-c", code, str(folder)], cwd=ROOT, stdout=subprocess.PIPE) as starter:
        assert starter.stdout is not None
        url = starter.stdout.readline().decode().strip()
        pid = pid_of(folder)
        starter.kill()
    assert embedded.start(folder) == url
    assert pid_of(folder) == pid
    with connect(url) as connection:
        assert connection.execute("SELECT 1").fetchone() == (1,)


def test_a_start_killed_while_making_the_folder_is_done_again(folder: Path) -> None:
    folder.parent.mkdir()
    half = folder.parent / f".{folder.name}.new-half"
    half.mkdir()
    (half / "PG_VERSION").write_text("18\n")
    embedded.start(folder)
    assert not half.exists()


def test_four_processes_start_it_at_once(folder: Path) -> None:
    starters = [
        subprocess.Popen([sys.executable, "-c", START, str(folder)], cwd=ROOT, stdout=subprocess.PIPE, text=True)
        for _ in range(4)
    ]
    urls = {starter.communicate(timeout=60)[0] for starter in starters}
    assert [starter.returncode for starter in starters] == [0] * 4
    assert len(urls) == 1
    assert sum(p.name() == "postgres" and p.ppid() == pid_of(folder) for p in psutil.process_iter()) > 0


def test_a_long_path_gets_a_short_private_socket(tmp_path: Path) -> None:
    folder = tmp_path / ("long" * 20) / ("path" * 20) / "record"
    url = embedded.start(folder)
    try:
        place = Path(str(make_url(url).query["host"]))
        assert len(str(place)) < 100
        assert stat.S_IMODE(place.stat().st_mode) == 0o700
        with connect(url) as connection:
            assert connection.execute("SELECT 1").fetchone() == (1,)
        embedded.stop(folder)
        place.chmod(0o755)
        with pytest.raises(ServerError, match="not a private folder"):
            embedded.start(folder)
        place.chmod(0o700)
    finally:
        embedded.stop(folder)


def test_a_folder_with_something_else_in_it_is_left_alone(folder: Path) -> None:
    folder.mkdir(parents=True)
    (folder / "thesis.tex").write_text("years of work")
    with pytest.raises(ServerError, match="not empty"):
        embedded.start(folder)
    assert (folder / "thesis.tex").read_text() == "years of work"


def test_another_major_version_is_explained(folder: Path) -> None:
    embedded.start(folder)
    embedded.stop(folder)
    (folder / "PG_VERSION").write_text("16\n")
    with pytest.raises(ServerError, match="made by PostgreSQL 16"):
        embedded.start(folder)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root runs the server as another user")
def test_programs_out_of_the_server_users_reach_are_copied(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real = postgres._installed()
    installed = tmp_path / "private" / real.parent.name / real.name
    installed.parent.mkdir(parents=True)
    (tmp_path / "private").chmod(0o700)
    installed.symlink_to(real)
    (tmp_path / "private" / f"{real.parent.name}.libs").symlink_to(real.parent.with_name(f"{real.parent.name}.libs"))
    monkeypatch.setattr(postgres, "COPIES", Path("/var/lib") / f"lesionlens-test-{os.getpid()}")
    monkeypatch.setattr(postgres, "_installed", lambda: installed)
    postgres.server_bin.cache_clear()
    folder = tmp_path / "home" / "record"
    try:
        with connect(embedded.start(folder)) as connection:
            assert connection.execute("SELECT 1").fetchone() == (1,)
        assert postgres.server_bin().is_relative_to(postgres.COPIES)
        assert stat.S_IMODE((tmp_path / "private").stat().st_mode) == 0o700
    finally:
        embedded.stop(folder)
        subprocess.run(["rm", "-rf", str(postgres.COPIES)], check=True)
        postgres.server_bin.cache_clear()
