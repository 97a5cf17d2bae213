"""What Prefect's server, worker and flows find in their environment: what this home needs, and nobody else's settings.

Variables of another Prefect or web server, proxies that no library here can use, and a terminal's encoding are left
out. Prefect's settings for this home, beyond those set here, are read from `prefect/prefect.toml` in it.
"""

import fcntl
import os
import secrets
import ssl
import tempfile
from pathlib import Path

import httpx

from lesionlens.settings import Home, settings

HEARTBEAT_SECONDS = 30
"""The shortest that Prefect takes."""
LONGEST_TMPDIR = 70
HERE = ("127.0.0.1", "localhost")
LEVELS = ("DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL")
KEPT = ("PREFECT_LOGGING_LEVEL", "PREFECT_SERVER_LOGGING_LEVEL")
FOREIGN = ("PREFECT_", "UVICORN_", "WEB_CONCURRENCY", "FORWARDED_ALLOW_IPS", "PYTHONIOENCODING")


class ServerError(RuntimeError):
    """The server, the worker or a deployment could not be started; the message names the remedy."""


def environment(home: Home, port: int) -> dict[str, str]:
    """The whole environment of a process that uses this home's server on the port.

    ServerError as for `login`, and for a level of logging that is none.
    """
    for name in KEPT:
        if os.environ.get(name, "INFO").upper() not in LEVELS:
            raise ServerError(f"{name} is {os.environ[name]!r}, not one of {', '.join(LEVELS)}: unset or correct it")
    kept = {name: value for name, value in os.environ.items() if not _is_foreign(name, value)}
    secret, here = login(home), _without_proxy()
    return {
        "PREFECT_LOGGING_LEVEL": "INFO",
        "PREFECT_SERVER_LOGGING_LEVEL": "WARNING",
        **({} if _has_home() else {"HOME": str(home.root)}),
        **kept,
        "PREFECT_HOME": str(home.prefect),
        # what files of the working folder (.env, prefect.toml) say is overruled: nothing is left to them
        "PREFECT_PROFILES_PATH": str(home.prefect / "profiles.toml"),
        "PREFECT_API_URL": f"http://127.0.0.1:{port}/api",
        "PREFECT_API_KEY": "",
        "PREFECT_API_SSL_CERT_FILE": "",
        "PREFECT_API_AUTH_STRING": secret,
        "PREFECT_SERVER_API_AUTH_STRING": secret,
        "PREFECT_SERVER_API_BASE_PATH": "",
        "PREFECT_SERVER_API_CORS_ALLOWED_ORIGINS": ",".join(f"http://{host}:{port}" for host in HERE),
        "PREFECT_SERVER_API_CSRF_PROTECTION_ENABLED": "false",  # the login and the check of origins do more
        "PREFECT_CLIENT_CUSTOM_HEADERS": "{}",
        "PREFECT_SERVER_UI_API_URL": f"http://127.0.0.1:{port}/api",
        "PREFECT_SERVER_UI_SERVE_BASE": "/",
        "PREFECT_SERVER_ALLOW_EPHEMERAL_MODE": "false",  # a missing server must be an error, not a lost history
        "DO_NOT_TRACK": "1",  # either of the two alone still lets something out
        "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
        "PREFECT_SERVER_UI_SHOW_PROMOTIONAL_CONTENT": "false",
        "PREFECT_FLOWS_HEARTBEAT_FREQUENCY": str(HEARTBEAT_SECONDS),
        # the server says 500 while its own database restarts, which must not end a run
        "PREFECT_CLIENT_RETRY_EXTRA_CODES": "500,504",
        "PREFECT_CLIENT_MAX_RETRIES": "8",
        "NO_PROXY": here,
        "no_proxy": here,  # who reads both prefers it
        "PYTHONUTF8": "1",
        "LESIONLENS_HOME": str(home.root),
        "LESIONLENS_DATA": str((settings().data or home.root / "cbis-ddsm").expanduser().absolute()),
    }


def fits(folder: Path | str) -> bool:
    """Whether processes can make their sockets in a folder for temporary files: a path of theirs has 107 bytes."""
    return len(os.fsencode(folder)) <= LONGEST_TMPDIR


def enter(variables: dict[str, str]) -> None:
    """Make these, and no others, the environment of this process."""
    tempfile.tempdir = None  # asked for anew
    for name in os.environ.keys() - variables.keys():
        del os.environ[name]
    os.environ.update(variables)


def login(home: Home) -> str:
    """What opens this home's server, as `user:password`; made at the first call, and readable by its user only.

    ServerError where other users can read it.
    """
    path = home.prefect / "login"
    path.parent.mkdir(parents=True, exist_ok=True)
    with os.fdopen(os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o600), "r+", encoding="utf-8") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        if os.fstat(file.fileno()).st_mode & 0o077:
            raise ServerError(f"{path} is open to other users: run `make stop`, remove it, and a new one will be made")
        found = file.read().strip()
        if not found:
            found = f"lesionlens:{secrets.token_urlsafe(24)}"
            file.write(found)
        return found


def _has_home() -> bool:
    try:
        return Path.home().is_absolute()
    except RuntimeError:  # a user without an entry in /etc/passwd; Prefect asks when it is imported
        return False


def _is_foreign(name: str, value: str) -> bool:
    """Whether a variable must not reach Prefect, which reads names in any case."""
    if name.lower().endswith("_proxy"):
        return name.lower() != "no_proxy" and not _takes(proxy=value if "://" in value else f"http://{value}")
    if name == "TMPDIR":
        return not fits(value)
    if name == "SSL_CERT_FILE":
        return not _holds_certificates(value)
    return name.upper().startswith(FOREIGN) and name not in KEPT


def _without_proxy() -> str:
    """Where no proxy stands between: this machine, and what the user says, as far as httpx can read it."""
    said = ",".join(os.environ.get(name, "") for name in ("NO_PROXY", "no_proxy")).split(",")
    hosts = dict.fromkeys([*HERE, *(host.strip() for host in said)])
    return ",".join(host for host in hosts if host and _takes(mounts={f"all://*{host}": None}))


def _holds_certificates(file: str) -> bool:
    """httpx reads the file whenever a client is made, also one that talks to this machine only."""
    try:
        ssl.create_default_context(cafile=file)
    except OSError:
        return False
    return True


def _takes(**options: object) -> bool:
    """Whether httpx, with which Prefect asks its server, can be made with these options."""
    try:
        # asks nobody anything, so it need not read the certificates, which takes long
        httpx.Client(trust_env=False, verify=False, **options).close()  # type: ignore[arg-type]
    except (httpx.InvalidURL, ValueError, ImportError):
        return False
    return True
