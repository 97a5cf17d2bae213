"""A full PostgreSQL on this machine, as an administrator installs it: TCP, a password, TLS where asked for."""

import os
import pwd
import random
import shutil
import socket
import subprocess
import tempfile
from pathlib import Path
from typing import Any

import psycopg

PASSWORD = "b4ttery-st4ple"


def programs() -> Path | None:
    """Where Debian puts PostgreSQL's programs."""
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"))
    return found[-1].parent if found else None


def free_port() -> int:
    """A port below those that the system gives to callers: a server that is killed finds it free again."""
    for port in random.sample(range(20_000, 32_000), 100):
        with socket.socket() as trial:
            try:
                trial.bind(("127.0.0.1", port))
            except OSError:
                continue
            return port
    raise AssertionError("no free port")


class FullPostgres:
    """A full PostgreSQL of its own folder, port and system user."""

    def __init__(self) -> None:
        self.bin = programs()
        assert self.bin is not None
        self.folder, self.port = Path(tempfile.mkdtemp(prefix="postgres.")), free_port()  # pytest's folders are root's
        self.user = "postgres" if os.geteuid() == 0 else pwd.getpwuid(os.geteuid()).pw_name
        shutil.chown(self.folder, self.user)  # PostgreSQL refuses to run as root
        secret = self.folder / "password"
        secret.write_text(PASSWORD)
        shutil.chown(secret, self.user)
        self._run(
            "initdb", "--auth=scram-sha-256", "--username=lesionlens", f"--pwfile={secret}", "--no-sync",
            "-D", str(self.folder / "data"),
        )  # fmt: skip
        secret.unlink()
        self.start()
        with psycopg.connect(f"{self.url('postgres')}", autocommit=True) as connection:
            connection.execute("CREATE DATABASE prefect")
            connection.execute("CREATE DATABASE record")

    def url(self, database: str, driver: str = "postgresql") -> str:
        return f"{driver}://lesionlens:{PASSWORD}@127.0.0.1:{self.port}/{database}"

    def start(self) -> None:
        options = f"-p {self.port} -c listen_addresses=127.0.0.1 -k {self.folder} -c fsync=off"
        self._run(
            "pg_ctl", "-D", str(self.folder / "data"), "-l", str(self.folder / "log"), "-w", "-o", options, "start"
        )

    def stop(self, how: str = "fast") -> None:
        self._run("pg_ctl", "-D", str(self.folder / "data"), "-w", "-m", how, "stop")

    def _run(self, *words: str) -> None:
        who = {"user": self.user, "extra_groups": []} if os.geteuid() == 0 else {}
        done = subprocess.run(
            [str(self.bin / words[0]), *words[1:]], cwd=self.folder, stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE, text=True, timeout=120, **who,
        )  # type: ignore[call-overload]  # fmt: skip
        assert done.returncode == 0, done.stderr

    def rows(self, query: str, *values: Any) -> list[tuple[Any, ...]]:
        """What the record says; nothing while its tables are not there yet or the server is away."""
        try:
            with psycopg.connect(self.url("record")) as connection:
                return connection.execute(query, values).fetchall()  # type: ignore[arg-type]
        except (psycopg.OperationalError, psycopg.errors.UndefinedTable):
            return []

    def dump(self, database: str) -> str:
        """Everything a database holds, as SQL."""
        assert self.bin is not None
        done = subprocess.run(
            [str(self.bin / "pg_dump"), self.url(database)], capture_output=True, text=True, check=True
        )
        return done.stdout

    def number(self, query: str, *values: Any) -> int:
        found = self.rows(query, *values)
        return int(found[0][0]) if found else 0
