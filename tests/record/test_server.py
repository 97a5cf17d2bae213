"""The embedded server's guards, each by causing what it guards against."""

import os
import pwd
import shutil
import signal
import stat
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import psycopg
import pytest
from sqlalchemy import make_url

from db.postgres import programs, server
from db.postgres.programs import ServerError
from tests.conftest import plain

ROOT = Path(__file__).resolve().parents[2]
START = """
import sys, time
from pathlib import Path
from db.postgres import server
print(server.start(Path(sys.argv[1])), flush=True)
sys.stdin.readline()
"""
root = pytest.mark.skipif(os.geteuid() != 0, reason="only root runs the server as another user")


def connect(url: str) -> psycopg.Connection:
    return psycopg.connect(plain(url), autocommit=True)


def answers(url: str) -> bool:
    with connect(url) as connection:
        return connection.execute("SELECT 1").fetchone() == (1,)


def pid_of(folder: Path) -> int:
    return int((folder / "postmaster.pid").read_text().splitlines()[0])


def wait_until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 20
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def kill(folder: Path) -> None:
    os.kill(pid_of(folder), signal.SIGKILL)
    wait_until(lambda: server.find(folder) is None)


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


@pytest.fixture(scope="session")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A record's folder as a first start makes it, its server stopped."""
    folder = tmp_path_factory.mktemp("made") / "record"
    server.start(folder)
    server.stop(folder)
    return folder


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[Path]:
    """Where a record may be made; its server is stopped at the end."""
    place = tmp_path / "home" / "record"
    yield place
    server.stop(place)


@pytest.fixture
def stopped(folder: Path, made: Path) -> Path:
    """A record whose server does not run."""
    folder.parent.mkdir(mode=0o700)
    subprocess.run(["cp", "-a", made, folder], check=True)
    return folder


@pytest.fixture
def running(stopped: Path) -> Path:
    """A record whose server runs."""
    server.start(stopped)
    return stopped


def test_a_first_start_makes_a_private_record_and_changes_no_folder_above(folder: Path) -> None:
    folder.parent.mkdir(mode=0o700)
    half = folder.parent / f".{folder.name}.new-half"  # what a start killed while making it left
    half.mkdir()
    (half / "PG_VERSION").write_text("18\n")
    before = {path: mode(path) for path in folder.parents}
    url = server.start(folder)
    assert {path: mode(path) for path in folder.parents} == before
    assert mode(folder) == mode(folder / server.SOCKET) == 0o700
    assert not half.exists()
    with connect(url) as connection:
        assert connection.execute("SHOW data_checksums").fetchone() == ("on",)
        assert connection.execute("SHOW listen_addresses").fetchone() == ("",)


def test_it_starts_once_is_shared_and_is_stopped_once(running: Path) -> None:
    pid = pid_of(running)
    url = server.start(running)
    assert pid_of(running) == pid and answers(url)
    assert server.stop(running)
    assert not server.stop(running)


@root
@pytest.mark.parametrize("opened", [False, True], ids=["as made", "all folders and the socket opened"])
def test_another_user_cannot_connect(running: Path, opened: bool) -> None:
    url = server.start(running)
    paths = [running / server.SOCKET, running, *running.parents]
    modes = {path: mode(path) for path in paths}
    nobody = pwd.getpwnam("nobody")
    client = programs.server_bin() / "psql"
    try:
        if opened:  # then `peer` alone holds
            for path in paths:
                path.chmod(0o777)
        done = subprocess.run(
            [str(client), "-h", str(running), "-U", "postgres", "-c", "SELECT 1", "postgres"],
            user=nobody.pw_uid, group=nobody.pw_gid, extra_groups=[], cwd="/", capture_output=True, text=True,
        )  # fmt: skip
    finally:
        for path, before in modes.items():
            path.chmod(before)
    assert done.returncode == 2, done.stdout
    assert ("authentication failed" if opened else "Permission denied") in done.stderr
    assert answers(url)


def test_an_open_data_folder_is_refused(stopped: Path) -> None:
    stopped.chmod(0o755)
    with pytest.raises(ServerError, match="chmod 700"):
        server.start(stopped)
    stopped.chmod(0o700)


@root
def test_a_data_folder_of_another_user_is_refused(stopped: Path) -> None:
    os.chown(stopped, 0, 0)
    with pytest.raises(ServerError, match="not a private folder of pgserver"):
        server.start(stopped)


def test_a_stale_pid_file_never_harms_a_stranger(running: Path) -> None:
    lines = (running / "postmaster.pid").read_text().splitlines()
    kill(running)
    with subprocess.Popen(["sleep", "60"]) as stranger:
        try:
            (running / "postmaster.pid").write_text("\n".join([str(stranger.pid), *lines[1:]]) + "\n")
            assert server.find(running) is None
            assert not server.stop(running)
            assert answers(server.start(running))
            assert pid_of(running) != stranger.pid
            server.stop(running)
            assert stranger.poll() is None
        finally:
            stranger.kill()


def test_a_postgres_of_another_folder_is_a_stranger(running: Path, made: Path, tmp_path: Path) -> None:
    other = tmp_path / "record"
    subprocess.run(["cp", "-a", made, other], check=True)
    (other / "postmaster.pid").write_text((running / "postmaster.pid").read_text())
    try:
        assert server.find(other) is None
        assert answers(server.start(other))
        assert pid_of(other) != pid_of(running)
    finally:
        server.stop(other)
    assert server.find(running) is not None


def test_a_zombie_postmaster_does_not_block(stopped: Path) -> None:
    user = programs.server_user().pw_uid if os.geteuid() == 0 else None
    data = "/proc/self/cwd" if os.geteuid() == 0 else str(stopped)
    command = [str(programs.server_bin() / "postgres"), "-D", data, "-k", "."]
    with subprocess.Popen(
        command, cwd=stopped, user=user, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    ) as postmaster:
        wait_until(lambda: (found := server.find(stopped)) is not None and found.process.pid == postmaster.pid)
        postmaster.kill()  # not waited for: stays a zombie
        wait_until(lambda: psutil.Process(postmaster.pid).status() == psutil.STATUS_ZOMBIE)
        assert pid_of(stopped) == postmaster.pid
        assert server.find(stopped) is None
        assert answers(server.start(stopped))
        assert psutil.Process(postmaster.pid).status() == psutil.STATUS_ZOMBIE


def test_a_server_whose_folder_was_removed_does_not_block(running: Path, made: Path) -> None:
    old = psutil.Process(pid_of(running))
    old.suspend()  # it would notice within a minute, and end
    try:
        shutil.rmtree(running)
        subprocess.run(["cp", "-a", made, running], check=True)
        assert answers(server.start(running))
        assert pid_of(running) != old.pid
    finally:
        old.kill()


def test_committed_rows_survive_a_killed_server_and_open_ones_do_not(running: Path) -> None:
    url = server.start(running)
    with connect(url) as connection:
        connection.execute("CREATE TABLE t (n int)")
        connection.execute("INSERT INTO t VALUES (1)")
    open_one = connect(url)
    with pytest.raises(psycopg.OperationalError), open_one.transaction():
        open_one.execute("INSERT INTO t SELECT generate_series(2, 10000)")
        kill(running)
        open_one.execute("INSERT INTO t VALUES (-1)")
        open_one.execute("SELECT pg_sleep(5)")
    assert server.start(running) == url
    with connect(url) as connection:
        assert connection.execute("SELECT n FROM t").fetchall() == [(1,)]


def test_processes_that_start_it_at_once_share_one_that_outlives_them(stopped: Path) -> None:
    starters = [
        subprocess.Popen(
            [sys.executable, "-c", START, str(stopped)], cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE
        )
        for _ in range(3)
    ]
    urls = {starter.stdout.readline().decode().strip() for starter in starters if starter.stdout}
    pid = pid_of(stopped)
    for starter in starters:
        starter.kill()
        starter.communicate()
    assert urls == {server.start(stopped)}
    assert pid_of(stopped) == pid and answers(urls.pop())


def test_a_name_that_a_shell_would_read_is_a_name(made: Path, tmp_path: Path) -> None:
    odd = tmp_path / 'it\'s "my" $HOME `id`; ü' / "record"
    odd.parent.mkdir()
    subprocess.run(["cp", "-a", made, odd], check=True)
    try:
        assert answers(server.start(odd))
    finally:
        server.stop(odd)


def test_memory_shared_by_its_processes_needs_no_room_in_dev_shm(running: Path) -> None:
    with connect(server.start(running)) as connection:
        assert connection.execute("SHOW dynamic_shared_memory_type").fetchone() == ("sysv",)
        connection.execute("SET debug_parallel_query = on")
        assert connection.execute("SELECT count(*) > 0 FROM pg_class").fetchone() == (True,)


@root
def test_it_is_made_and_served_without_dev_shm(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    hidden = [
        "unshare",
        "--mount",
        "sh",
        "-c",
        'mount --bind -o ro "$0" /dev/shm && exec "$@"',
        str(tmp_path / "empty"),
    ]
    if subprocess.run([*hidden, "true"], capture_output=True).returncode != 0:
        pytest.skip("/dev/shm cannot be hidden here")
    command = [*hidden, sys.executable, "-c", START, str(folder)]
    done = subprocess.run(command, cwd=ROOT, stdin=subprocess.DEVNULL, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert answers(done.stdout.strip())


def test_a_user_without_a_name_is_told_what_to_do(stopped: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As in a container started with --user."""
    monkeypatch.setattr(os, "geteuid", lambda: 2_000_000_123)
    with pytest.raises(ServerError, match=r"user 2000000123 has no entry in /etc/passwd.*LESIONLENS_DATABASE_URL"):
        server.start(stopped)


def test_a_long_path_gets_a_short_private_socket(made: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also where the folder for temporary files has a long path, or one that the server's user cannot enter."""
    (tmp_path / ("odd folder $(id) " * 10)).mkdir(mode=0o700)
    monkeypatch.setenv("TMPDIR", str(tmp_path / ("odd folder $(id) " * 10)))
    monkeypatch.setattr("tempfile.tempdir", None)
    long = tmp_path / ("long" * 20) / ("path" * 20) / "record"
    long.parent.mkdir(parents=True)
    subprocess.run(["cp", "-a", made, long], check=True)
    url = server.start(long)
    try:
        place = Path(str(make_url(url).query["host"]))
        assert len(str(place)) < 100 and mode(place) == 0o700
        assert answers(url)
        server.stop(long)
        place.chmod(0o755)
        with pytest.raises(ServerError, match="not a private folder"):
            server.start(long)
        place.chmod(0o700)
    finally:
        server.stop(long)


def test_a_folder_with_something_else_in_it_is_left_alone(folder: Path) -> None:
    folder.mkdir(parents=True)
    (folder / "thesis.tex").write_text("years of work")
    with pytest.raises(ServerError, match="not empty"):
        server.start(folder)
    assert (folder / "thesis.tex").read_text() == "years of work"


def test_another_major_version_is_explained(stopped: Path) -> None:
    (stopped / "PG_VERSION").write_text("16\n")
    with pytest.raises(ServerError, match="made by PostgreSQL 16"):
        server.start(stopped)


@root
def test_programs_out_of_the_server_users_reach_are_copied(
    stopped: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = programs._installed()
    installed = tmp_path / "private" / real.parent.name / real.name
    installed.parent.mkdir(parents=True)
    (tmp_path / "private").chmod(0o700)
    installed.symlink_to(real)
    (tmp_path / "private" / f"{real.parent.name}.libs").symlink_to(real.parent.with_name(f"{real.parent.name}.libs"))
    monkeypatch.setattr(programs, "COPIES", Path("/var/lib") / f"lesionlens-test-{os.getpid()}")
    monkeypatch.setattr(programs, "_installed", lambda: installed)
    programs.server_bin.cache_clear()
    try:
        assert answers(server.start(stopped))
        assert programs.server_bin().is_relative_to(programs.COPIES)
        assert mode(tmp_path / "private") == 0o700
    finally:
        server.stop(stopped)
        subprocess.run(["rm", "-rf", str(programs.COPIES)], check=True)
        programs.server_bin.cache_clear()
