"""The record: a prompt, backup, restore, migrations."""

from pathlib import Path
from typing import Annotated

from cyclopts import Parameter


def sql(*options: Annotated[str, Parameter(allow_leading_hyphen=True)], write: bool = False) -> None:
    """A prompt on the record, reading only; or SQL from standard input.

    What is piped in is answered up to its first error.

    For example:

        lesionlens sql
        echo "TABLE table_2_accuracy;" | lesionlens sql --csv
        lesionlens sql --csv --command "SELECT * FROM sample_results" > samples.csv

    Args:
        options: psql's own options.
        write: The prompt may change the record.
    """
    from db.clients import psql

    psql(options, write)


def backup(file: Path, /) -> None:
    """Write the whole record into a file.

    Args:
        file: Where to, such as study.dump. Weights are files beside the record: copy the checkpoints, too.
    """
    from db import clients

    clients.backup(file)
    print(f"{file}: {file.stat().st_size / 1e6:.1f} MB. Weights are files: copy the checkpoints, too.")


def restore(file: Path, /) -> None:
    """Fill an empty record from a file that `backup` wrote.

    Args:
        file: The backup.
    """
    from db import clients

    clients.restore(file)
    print(f"{file} is restored.")


def migrate(*, check: bool = False, revision: str | None = None) -> None:
    """Bring the record to the tables of this version.

    A reader role that was made since is given the views.

    Args:
        check: Only find out whether migrations make what db/tables describes, on a throw-away server.
        revision: Write a migration of what db/tables has more, with this title (for developers).
    """
    from db import clients

    if check or revision is not None:
        clients.check(revision)
    else:
        clients.upgrade()
