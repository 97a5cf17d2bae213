"""The tables of the published study, as frames to be joined to this study's."""

import json
from dataclasses import dataclass
from importlib import resources
from typing import Any

import polars as pl

from lesionlens.records import ReportData
from lesionlens.reporting.data import Model, frame
from lesionlens.reporting.formatting import BACKBONES, STRATEGIES, term

MODEL = ["backbone", "strategy"]


@dataclass(frozen=True, slots=True, eq=False)
class Published:
    """Published values.

    patches: code, published_train, published_test, published_support (of the classification reports);
    runs: backbone, strategy, published_batch_size, published_accuracy, published_epochs, published_ll,
    published_accuracy_x_ll; auc: backbone, strategy, code (`mean` for the average), value; reference: another study's
    patch classifier.
    """

    source: str
    classes: tuple[str, ...]
    patches: pl.DataFrame
    runs: pl.DataFrame
    auc: pl.DataFrame
    reference: dict[str, Any]

    def matches(self, model: Model) -> bool:
        """Whether a run of the same backbone and strategy was published."""
        return (model.backbone, model.strategy) in self.runs.select(MODEL).rows()

    @property
    def titles(self) -> pl.Expr:
        """The titles of models from columns backbone and strategy."""
        named = [pl.col(name).replace(terms) for name, terms in zip(MODEL, (BACKBONES, STRATEGIES), strict=True)]
        return pl.concat_str(named, separator=", ")

    def same_classes(self, data: ReportData) -> bool:
        """Whether the study has the published classes in the published order."""
        return tuple(frame(data, "labels").sort("ordinal")["code"]) == self.classes

    def notes(self, found: tuple[Model, ...]) -> tuple[str, ...]:
        """What a reader has to know of the published rows and of differences from them."""
        without = [term(model.backbone, BACKBONES) for model in found if not self.matches(model)]
        notes = []
        if without:
            notes.append(
                f"No published run of {', '.join(dict.fromkeys(without))} with these training strategies, hence no "
                "difference. Published rows of other models are listed for orientation."
            )
        if len(without) < len(found):
            notes.append(
                "Difference: this study minus the published value. Its CI is that of this study; the published value "
                "comes without one and is taken as exact."
            )
        return tuple(notes)


def published() -> Published:
    """The published tables, from the package's own file."""
    values = json.loads(resources.files(__package__).joinpath("published.json").read_text(encoding="utf-8"))
    patches = [
        (code, row["train"], row["test"], values["report_support"][code])
        for code, row in values["table_1_patches"].items()
    ]
    names = {
        "batch_size": "published_batch_size",
        "accuracy": "published_accuracy",
        "epochs_at_best": "published_epochs",
        "localization": "published_ll",
        "accuracy_x_localization": "published_accuracy_x_ll",
    }
    auc = [
        (run["backbone"], run["strategy"], code, value)
        for run in values["runs"]
        for code, value in run["auc_hard"].items()
    ]
    return Published(
        source=values["source"],
        classes=tuple(values["classes"]),
        patches=pl.DataFrame(
            patches, schema=["code", "published_train", "published_test", "published_support"], orient="row"
        ),
        runs=pl.DataFrame([{name: run[name] for name in [*MODEL, *names]} for run in values["runs"]]).rename(names),
        auc=pl.DataFrame(auc, schema=[*MODEL, "code", "value"], orient="row"),
        reference=values["reference"],
    )
