"""Names of flow runs."""

from collections.abc import Callable, Iterable
from typing import Any

from coolname.data import config
from prefect.runtime import flow_run

PARTS: Iterable[dict[str, Any]] = config.values()  # type: ignore[assignment]
WORDS = frozenset(word for part in PARTS for word in part.get("words", ()))
"""What Prefect makes the names of runs of that nobody named: two of these, with a hyphen."""


def named(template: str) -> Callable[[], str]:
    """A flow run's name from its parameters, unless a person gave it one."""

    def name() -> str:
        given = str(flow_run.name or "")
        return template.format(**flow_run.parameters) if not given or is_made_up(given) else given

    return name


def is_made_up(name: str) -> bool:
    """Whether Prefect invented the name.

    >>> is_made_up("fuzzy-badger"), is_made_up("my careful name"), is_made_up("dense-breasts")
    (True, False, False)
    """
    words = name.split("-")
    return len(words) == 2 and WORDS.issuperset(words)
