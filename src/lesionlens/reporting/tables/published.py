"""The study's own tables, as data."""

import json
from dataclasses import dataclass
from importlib import resources
from typing import Any

from lesionlens.reporting.data import Model


@dataclass(frozen=True, slots=True)
class Published:
    """Published values; `runs` by (backbone, strategy)."""

    source: str
    classes: tuple[str, ...]
    patches: dict[str, dict[str, int]]
    supports: dict[str, int]
    runs: dict[tuple[str, str], dict[str, Any]]
    reference: dict[str, Any]

    def match(self, model: Model) -> dict[str, Any] | None:
        """The published run of the same backbone and strategy, if there is one."""
        return self.runs.get((model.backbone, model.strategy))


def published(values: dict[str, Any] | None = None) -> Published:
    """The published tables, from the package's own file where no values are given."""
    if values is None:
        values = json.loads(resources.files(__package__).joinpath("published.json").read_text(encoding="utf-8"))
    return Published(
        source=values["source"],
        classes=tuple(values["classes"]),
        patches=values["table_1_patches"],
        supports=values["report_support"],
        runs={(run["backbone"], run["strategy"]): run for run in values["runs"]},
        reference=values["reference"],
    )
