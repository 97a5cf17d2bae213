"""Other data: a run's scores on its own test split and on another data set, side by side."""

import polars as pl

from lesionlens.records import ReportData
from lesionlens.reporting.data import confidence, evaluated, frame, sql, with_models
from lesionlens.reporting.formatting import count
from lesionlens.reporting.tables.spec import TableSpec, estimate, model, text, whole

MEASURES = {
    "accuracy": "accuracy",
    "balanced_accuracy": "balanced accuracy",
    "auc": "AUC, mean one against the rest",
    "ll": "LL score",
    "hit_rate": "hit rate",
}
"""As they are written, in the order of the table."""


def external(data: ReportData) -> tuple[TableSpec, ...]:
    """One table per run and other data set; empty where no run was evaluated on any."""
    found = frame(data, "external")
    order = pl.col("measure").replace_strict({name: n for n, name in enumerate(MEASURES)}, return_dtype=pl.Int64)
    return tuple(
        _table(data, part.sort(order)) for part in found.partition_by("other_id", maintain_order=True) if part.height
    )


def _table(data: ReportData, part: pl.DataFrame) -> TableSpec:
    level, first = confidence(data), part.row(0, named=True)
    columns = (
        model(),
        text("Score", "measure", terms=MEASURES),
        *(
            column
            for side, head in (("internal", "Own test split"), ("external", "Other data"))
            for column in (
                estimate(head, side, small=level),
                whole("Patches", f"{side}_n"),
                whole("Patients", f"{side}_patients"),
            )
        ),
        estimate("Difference", "difference", small=level),
    )
    return TableSpec(
        f"external-{first['other_id']}", "Other data", f"Own test split against {first['other_dataset']}", columns,
        with_models(data, part, evaluated(data)), notes(first), sql(data, ["external"]),
    )  # fmt: skip


def notes(row: dict[str, object]) -> tuple[str, ...]:
    """What a reader must know of the other data set, by one row of the frame `external`."""
    found = []
    if not row["is_external"]:
        found.append(
            f"This is no external validation: {count(int(str(row['shared_images'])))} images of these data are also in "
            "the study's, by their pixels."
        )
    if row["left_out"]:
        found.append(
            f"Left out: {count(int(str(row['left_out'])))} patches of {count(int(str(row['shared_patients'])))} "
            "patients with an image that the run was trained or tuned on."
        )
    missing = row["missing_classes"]
    if isinstance(missing, list) and missing:
        found.append(
            f"No patch of class {', '.join(map(str, missing))} is in the other data: balanced accuracy and AUC "
            "are over the classes of both."
        )
    found.append(
        "Weights, normalisation, class order and thresholds are those of the study; nothing was tuned on the other "
        "data. Difference: own test split minus other data, patients of the two drawn independently. LL score and hit "
        "rate are over correctly classified lesions."
    )
    return tuple(found)
