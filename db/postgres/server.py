"""The embedded PostgreSQL: started when needed, shared by all processes, outliving each of them.

The server listens on a Unix socket only. Three guards keep other users out: the data folder is 0700 and
belongs to the server's user, the socket is 0700, and pg_hba.conf asks the kernel who connects (`peer`):
only the owner, the server's user and root get in, and the guest of `db.postgres.door` with its password. A lock beside
the folder is held from looking to starting.
"""

import os
import shlex
import shutil
import signal
import stat
import subprocess
import tempfile
import time
from contextlib import suppress
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from urllib.parse import quote

import psutil
from filelock import FileLock

from db.postgres.programs import ServerError, run_as_server, server_bin, server_user

MAJOR = "18"
GUEST = "lesionlens_guest"
"""The role of other programs, made for as long as a door to the record is open."""
SOCKET = ".s.PGSQL.5432"
LONGEST_SOCKET_PATH = 100  # the kernel ends at 107 bytes
START_SECONDS = 120  # crash recovery included
DATA = "/proc/self/cwd"
"""How the data folder is named to the server's programs, which run inside it.

Root's server runs as another user, who may not enter the folders above: their modes can stay as they are. And pg_ctl
hands the name to a shell.
"""
SHORT = ("/tmp", "/var/tmp")
"""Where sockets lie whose own folder has too long a path, whatever TMPDIR says: processes differ in that."""


@dataclass(frozen=True)
class Postmaster:
    """A running server of a data folder: its process and the folder of its socket."""

    process: psutil.Process
    socket_folder: Path

    @property
    def url(self) -> str:
        """SQLAlchemy URL of the record."""
        return f"postgresql+psycopg://postgres@/postgres?host={quote(str(self.socket_folder))}"


def start(folder: Path) -> str:
    """Make sure that the record in `folder` is being served; returns its SQLAlchemy URL.

    Makes the folder on first use. Safe when several processes call it at once. Takes about a millisecond
    when the server runs. Raises ServerError when the folder cannot be trusted or the server cannot start.
    """
    folder = folder.absolute()
    folder.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    with _lock(folder):
        if not (folder / "PG_VERSION").exists():
            _initialise(folder)
        _check_folder(folder)
        server = find(folder)
        if server is None:
            _remove_stale_lock_files(folder)
            _launch(folder)
            server = find(folder)
        if server is None:
            raise ServerError(f"the embedded server of {folder} ended at once: see {folder / 'server.log'}")
        return server.url


def stop(folder: Path) -> bool:
    """Stop the server of `folder`, connections included; False if none was running. Nothing committed is lost."""
    folder = folder.absolute()
    if not folder.exists():
        return False
    with _lock(folder):
        server = find(folder)
        if server is None:
            return False
        server.process.send_signal(signal.SIGINT)  # PostgreSQL's fast shutdown
        deadline = time.monotonic() + START_SECONDS
        while _serves(server.process, folder):
            if time.monotonic() > deadline:
                raise ServerError(f"the server of {folder} (pid {server.process.pid}) does not stop: see server.log")
            time.sleep(0.02)
    return True


def find(folder: Path) -> Postmaster | None:
    """The server of `folder`, or None.

    The number in postmaster.pid proves nothing: it may since belong to a stranger. It counts only if that
    process is a live postgres that works in this very folder.
    """
    deadline = time.monotonic() + START_SECONDS
    while time.monotonic() < deadline:
        lines = _pid_file(folder)
        if not lines or not lines[0].strip().isdigit():
            return None
        try:
            process = psutil.Process(int(lines[0]))
        except psutil.NoSuchProcess:
            return None
        if not _serves(process, folder):
            return None
        if len(lines) >= 8 and lines[7].strip() == "ready":
            named = lines[4].strip()
            return Postmaster(process, folder if named in ("", ".") else Path(named))
        time.sleep(0.02)  # starting, recovering or stopping
    raise ServerError(f"the server of {folder} is neither up nor gone after {START_SECONDS} s: see server.log there")


def _pid_file(folder: Path) -> list[str]:
    try:
        return os.fsdecode((folder / "postmaster.pid").read_bytes()).splitlines()
    except FileNotFoundError:
        return []


def _serves(process: psutil.Process, folder: Path) -> bool:
    """Whether the process is a live (not a zombie) postgres whose working folder is `folder`.

    By the folder itself, not by its path: a server whose folder was removed works on in one of the same name.
    """
    try:
        if process.status() == psutil.STATUS_ZOMBIE or process.name() != "postgres":
            return False
        return Path(f"/proc/{process.pid}/cwd").samefile(folder)
    except (psutil.Error, OSError):
        return False


def _remove_stale_lock_files(folder: Path) -> None:
    """Drop lock files whose number belongs to a stranger or a zombie: PostgreSQL would refuse to start.

    Only once no process works in the folder any more, so never beside backends that outlive a killed server.
    """
    deadline = time.monotonic() + 30
    while any(_serves(process, folder) for process in psutil.process_iter()):
        if time.monotonic() > deadline:
            raise ServerError(f"processes of a killed server still work in {folder}: wait for them or end them")
        time.sleep(0.05)
    (folder / "postmaster.pid").unlink(missing_ok=True)
    (_socket_folder(folder) / f"{SOCKET}.lock").unlink(missing_ok=True)


def _initialise(folder: Path) -> None:
    """Make a new cluster beside the folder and move it into place, so that a killed start leaves nothing half."""
    if folder.exists() and any(folder.iterdir()):
        raise ServerError(f"{folder} is not empty and holds no record: move it away or set LESIONLENS_HOME elsewhere")
    user = server_user()
    for leftover in folder.parent.glob(f".{folder.name}.new-*"):  # the lock is ours: nobody works on these
        shutil.rmtree(leftover)
    fresh = Path(tempfile.mkdtemp(dir=folder.parent, prefix=f".{folder.name}.new-"))
    if os.geteuid() == 0:
        os.chown(fresh, user.pw_uid, user.pw_gid)
    command = [
        str(server_bin() / "initdb"), "-D", DATA, "-U", "postgres", "--auth=peer", "--encoding=UTF8",
        "--locale=C", "--locale-provider=builtin", "--builtin-locale=C.UTF-8", "--data-checksums", "--no-instructions",
    ]  # fmt: skip
    done = run_as_server(command, fresh, timeout=START_SECONDS)
    if done.returncode != 0:
        raise ServerError(f"cannot make a record in {folder}: {done.stdout.strip()[-2000:]}")
    _write_guards(fresh, user.pw_name)
    if folder.exists():
        folder.rmdir()
    fresh.rename(folder)


def _write_guards(folder: Path, user: str) -> None:
    owners = dict.fromkeys((user, "root"))
    files = {
        "pg_hba.conf": f"local all {GUEST} scram-sha-256\nlocal all all peer map=owners\n",
        "pg_ident.conf": "".join(f'owners "{owner}" all\n' for owner in owners),
    }
    for name, content in files.items():
        (folder / name).write_text(content)  # existing files: owner and mode stay
    with (folder / "postgresql.conf").open("a") as settings:
        settings.write("listen_addresses = ''\nunix_socket_permissions = 0700\n")


def _check_folder(folder: Path) -> None:
    _check_private(folder, f"give {folder} to {server_user().pw_name} and chmod 700 it, or move it away")
    version = (folder / "PG_VERSION").read_text().strip()
    if version != MAJOR:
        raise ServerError(
            f"{folder} was made by PostgreSQL {version}, the bundled one is {MAJOR}: dump it with the version that "
            "made it (lesionlens backup), move it away and restore"
        )


def _check_private(folder: Path, advice: str) -> None:
    """ServerError, with the advice, where others may enter the folder or own it."""
    found, user = folder.lstat(), server_user()
    if not stat.S_ISDIR(found.st_mode) or found.st_uid != user.pw_uid or found.st_mode & 0o077:
        raise ServerError(f"{folder} is not a private folder of {user.pw_name}: {advice}")


def _launch(folder: Path) -> None:
    sockets = _socket_folder(folder)
    # a container's /dev/shm is small, or missing; PostgreSQL needs System V memory in any case
    options = ["-k", "." if sockets == folder else str(sockets), "-c", "dynamic_shared_memory_type=sysv"]
    command = [
        str(server_bin() / "pg_ctl"), "start", "-w", "-t", str(START_SECONDS), "-D", DATA,
        "-l", "server.log", "-o", shlex.join(options),
    ]  # fmt: skip
    try:
        done = run_as_server(command, folder, timeout=START_SECONDS + 10)
    except subprocess.TimeoutExpired as error:
        raise ServerError(f"the server of {folder} did not start in {START_SECONDS} s: see server.log there") from error
    if done.returncode != 0:
        log = folder / "server.log"
        tail = log.read_text(errors="replace")[-2000:] if log.exists() else ""
        raise ServerError(f"the server of {folder} cannot start: {done.stdout.strip()}\n{tail}")


def _socket_folder(folder: Path) -> Path:
    """The data folder; where its path is too long for a socket, a short one."""
    if len(os.fsencode(folder / SOCKET)) <= LONGEST_SOCKET_PATH:
        return folder
    owner = server_user()
    short = short_folder(folder, owner.pw_uid, owner.pw_gid)
    _check_private(short, "remove it, or shorten LESIONLENS_HOME")
    return short


def short_folder(folder: Path, user: int, group: int) -> Path:
    """A private folder of the user's with a short path, named after `folder`: the same one for every process."""
    place = next((found for found in SHORT if os.access(found, os.W_OK | os.X_OK)), SHORT[0])
    short = Path(place) / f"lesionlens-{user}-{sha256(os.fsencode(folder)).hexdigest()[:12]}"
    with suppress(FileExistsError):
        short.mkdir(mode=0o700)
        os.chown(short, user, group)
    return short


def _lock(folder: Path) -> FileLock:
    """The lock beside the data folder; it is released when the process dies."""
    return FileLock(folder.with_name(folder.name + ".lock"), mode=0o600, poll_interval=0.02)
