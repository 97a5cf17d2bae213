"""Classification: two-class questions, comparisons of models, confusion matrices, reports, seeds, selection of runs."""

from collections.abc import Callable
from typing import Any

import polars as pl

from lesionlens.records import ReportData
from lesionlens.reporting.data import (
    ESTIMATE,
    Model,
    Row,
    compared,
    confidence,
    evaluated,
    frame,
    level,
    shown,
    sql,
    wide,
    with_models,
)
from lesionlens.reporting.formatting import ASKED, BACKBONES, DASH, STRATEGIES, UNITS, count, interval, number, p_value
from lesionlens.reporting.tables.spec import Cell, Column, TableSpec, decimal, estimate, in_gallery, model, text, whole
from lesionlens.scoring.operating import SPECIFICITIES

SIDES = {
    "lesion": "lesion or background?",
    "malignant": "malignant or benign, given that it is a lesion?",
    "pathology": "malignant or benign, told from the scores of the classes?",
    "flips": "malignant or benign, by the mean over flips?",
}
SIDE_NOTES = {
    "lesion": "Lesion or background: all patches; the probability of a lesion is the sum over the lesion classes. "
    "Sensitivity is the proportion of lesions, specificity that of background, classified as such.",
    "malignant": "Malignant or benign: lesion patches only, given that they are lesions. The probability of malignant "
    "is renormalised over the lesion classes, so that a lesion classified as background counts by the more probable "
    "of the two. Sensitivity is that of malignant lesions, specificity that of benign ones.",
    "pathology": "Malignancy from the classes: they are neither malignant nor benign, so a logistic regression on "
    "their scores, learnt on the training split, tells one from the other. Lesions of known pathology only.",
    "flips": "Flips: the mean probability of a film as it is and flipped in both ways, each view by itself, or of a "
    "patch in its eight flips and quarter turns. Maps and tests are of samples as they are.",
}
BINARY = {"auc": "AUC", "accuracy": "Accuracy", "sensitivity": "Sensitivity", "specificity": "Specificity"}
CELL = {"backbone": pl.String, "strategy": pl.String, "guidance": pl.String}
_GUIDED = pl.when(pl.col("guidance") != "none").then(pl.concat_str(pl.lit("trained on annotations, "), "guidance"))
POINTS = {
    f"{measure}_{at:g}": (measure.capitalize(), f"wanted specificity {at:.2f}")
    for at in SPECIFICITIES
    for measure in ("sensitivity", "specificity")
}
COMPARED = {
    "auc_detection": "AUC, lesion or not",
    "auc_diagnosis": "AUC, which lesion",
    "ll": "LL score",
    "auc": "AUC",
    "macro_f1": "macro F1",
    "weighted_f1": "weighted F1",
}


def binary(data: ReportData) -> TableSpec:
    """Lesion or background, malignant or benign: one row for each model and question."""
    found = frame(data, "binary_scores")
    index = ["run_id", "side"]
    table = wide(found, index, "score", BINARY, ESTIMATE)
    table = table.join(found.group_by(index).agg(pl.col("n").max()), on=index, maintain_order="left")
    columns = (
        model(),
        text("Question", "side", terms=SIDES),
        *(estimate(head, name, small=confidence(data)) for name, head in BINARY.items()),
        whole("Patches", "n"),
    )
    asked = {side: note for side, note in SIDE_NOTES.items() if side in found["side"]}
    caption = "; ".join(note.partition(":")[0] for note in asked.values())
    return TableSpec(
        "binary", "Two classes", caption, columns, with_models(data, table), tuple(asked.values()),
        sql(data, ["binary_scores", "selected_runs"]),
    )  # fmt: skip


def operating(data: ReportData) -> TableSpec:
    """AUC, and sensitivity and specificity at thresholds from validation: a row a model, question and level."""
    found = frame(data, "operating_points").filter(pl.col("measure") != "roc").with_columns(
        point=pl.when(pl.col("at").is_null()).then("measure").otherwise(
            pl.concat_str("measure", pl.lit("_"), pl.col("at").cast(pl.String))
        )
    )  # fmt: skip
    index = ["run_id", "question", "level"]
    fields = ESTIMATE | {"threshold": "_threshold"}
    table = wide(found, index, "point", ("auc", *POINTS), fields)
    units = found.filter(measure="auc").select(*index, "n")
    table = table.join(units, on=index, how="left", maintain_order="left")
    columns = (
        model(),
        text("Question", "question", terms=ASKED),
        text("Each", "level", terms=UNITS),
        whole("Count", "n"),
        estimate("AUC", "auc", small=confidence(data)),
        *(_point(name, *heads) for name, heads in POINTS.items()),
    )
    notes = (
        "The threshold is the lowest that gives the wanted specificity on the validation split, at the same level. The "
        "specificity that it gives on the test split stands beside the sensitivity. The score of a breast or patient "
        "is the highest of its patches.",
    )
    return TableSpec(
        "operating", "Operating points", "Sensitivity at a threshold from validation, by patch, breast and patient",
        columns, with_models(data, table), notes, sql(data, ["operating_points", "selected_runs"]),
    )  # fmt: skip


def _point(name: str, head: str, small: str) -> Column:
    """Sensitivity, or specificity reached, with its interval and the threshold that both come from."""

    def write(value: float | None, low: float | None, high: float | None, cut: float | None) -> Cell:
        above = "" if cut is None or not name.startswith("sensitivity") else f"above {number(cut, 3)}"
        return Cell(number(value), tuple(filter(None, [interval(low, high), above])))

    return Column(head, (name, f"{name}_low", f"{name}_high", f"{name}_threshold"), write, small)


def comparisons(data: ReportData) -> TableSpec:
    """Paired differences between all models shown: difference, interval, corrected p and number of samples."""
    found = compared(data)
    titles = {m.run_id: m.title for m in shown(data)}
    pair = {f"model_{side}": pl.col(f"run_{side}").replace_strict(titles, default=None) for side in "ab"}
    table = found.with_columns(**pair).drop_nulls(list(pair))
    columns = (
        Column("Model", ("run_a", "model_a"), lambda _, title: Cell(title), numeric=False),
        Column("Minus", ("run_b", "model_b"), lambda _, title: Cell(title), numeric=False),
        text("Score", "score", terms=COMPARED),
        estimate("Difference", "difference", ("low", "high"), signed=True, small=confidence(data), mark="strong",
                 where="significant"),
        Column("Corrected p", ("p_holm",), lambda p: Cell(p_value(p).removeprefix("p = ").removeprefix("p "))),
        Column("Over seeds", ("seeds", "lowest", "highest"), _over_seeds, "lowest to highest"),
        whole("Samples", "n", small="shared"),
    )  # fmt: skip
    notes = [
        "Both models of a pair are scored on the same samples. Bold: the CI excludes 0, the corrected p is below "
        f"{1 - level(data):.2g}, and the difference has the same sign for every seed.",
        "A pair is of two trained networks: what other seeds would give is not in CI and p. Over seeds: the difference "
        "between runs of equal seeds, where the study has several; where its sign changes, the seed makes it.",
        "p by patient, not by patch: exact McNemar test with the models exchanged within patients for accuracy, t test "
        "of the differences summed by patient for LL, Student's t with the bootstrap's "
        "standard error for AUC. Holm correction over the pairs of this table, for each score "
        "separately.",
    ]
    if found.height > table.height:
        notes.append(
            f"The query lists all {count(found.height)} comparisons of the study's runs; p of those outside this table "
            "is corrected over all pairs of the study."
        )
    return TableSpec(
        "comparisons", "Pairs", "Paired differences between models", columns, table, tuple(notes),
        sql(data, ["comparison", "selected_runs"]),
    )  # fmt: skip


def _over_seeds(seeds: int, lowest: float | None, highest: float | None) -> Cell:
    return Cell(interval(lowest, highest) if seeds > 1 else DASH)


def confusion(data: ReportData) -> tuple[tuple[Model, TableSpec], ...]:
    """(model, confusion matrix): proportions of each row's patches, their intervals, and counts."""
    labels = frame(data, "labels").sort("ordinal").with_columns(below=_below("code", "name"))
    fields = {"row_fraction": "", "low": "_low", "high": "_high", "count": "_n"}
    names = dict(labels.select("code", "below").rows())
    columns = (
        text("True class", "code", "below"),
        *(
            Column(
                code,
                (f"to_{code}", f"to_{code}_low", f"to_{code}_high", f"to_{code}_n"),
                _confused,
                below or "",
                link=_of_cell(code),
            )
            for code, below in names.items()
        ),
    )
    matrices = []
    for m in shown(data):
        found = frame(data, "confusion_matrix").filter(run_id=m.run_id)
        if found.height:
            matrix = wide(found, ["true_code"], "predicted_code", names, fields, "to_")
            table = labels.select("code", "below", run_id=m.run_id).join(
                matrix, left_on="code", right_on="true_code", how="left"
            )
            caption = f"Confusion matrix of {m.title}: rows are true classes, columns predicted ones"
            matrices.append((m, TableSpec(f"confusion-{m.run_id}", m.title, caption, columns, table)))
    return tuple(matrices)


def _below(code: str, name: str) -> pl.Expr:
    """A class's name where it says more than its code; own data sets may have one word for both."""
    return pl.when(pl.col(code) != pl.col(name)).then(name)


def _of_cell(predicted: str) -> Callable[[Row], str]:
    def link(row: Row) -> str:
        chosen = in_gallery(run=row["run_id"], code=row["code"], predicted=predicted)
        return chosen if row[f"to_{predicted}_n"] else ""

    return link


def _confused(value: float | None, low: float | None, high: float | None, n: int | None) -> Cell:
    lines = tuple(filter(None, [interval(low, high), count(n) if n is not None else ""]))
    return Cell(number(value), lines, "heat", value or 0.0)


def class_reports(data: ReportData) -> tuple[tuple[Model, TableSpec], ...]:
    """(model, classification report): precision, recall, F1 and support of every class, then their averages."""
    scores = {"precision": "Precision", "recall": "Recall", "f1": "F1"}
    names = frame(data, "labels").select("code", "name")
    classes = frame(data, "class_scores").join(names, on="code", how="left", maintain_order="left")
    averages = wide(frame(data, "average_scores"), ["run_id", "average"], "score", scores, ESTIMATE).with_columns(
        pl.format("{} average", "average").alias("name"), pl.lit("total").alias("mark")
    )
    every = pl.concat([classes.with_columns(name=pl.coalesce("name", "code")), averages], how="diagonal_relaxed")
    columns = (
        text("Class", "name"),
        *(estimate(head, name, small=confidence(data)) for name, head in scores.items()),
        Column("Support", ("support",), lambda n: Cell("" if n is None else count(n))),
    )
    reports = []
    for m in shown(data):
        caption = f"Classification report of {m.title}"
        table = every.filter(run_id=m.run_id)
        reports.append((m, TableSpec(f"classes-{m.run_id}", m.title, caption, columns, table)))
    return tuple(reports)


def seeds(data: ReportData) -> TableSpec:
    """Mean and range over the seeds of a cell of the grid; no row where every cell has one seed."""
    scores = {"accuracy": "Accuracy", "ll": "LL score"}
    headline = frame(data, "table_4_localization").filter("headline").select("method", "policy").unique()
    found = frame(data, "seed_spread")
    found = pl.concat([found.filter(name="accuracy"), found.filter(name="ll").join(headline, on=["method", "policy"])])
    index = ["backbone", "strategy", "batch_size", "head_rate", "unit1_rate", "guidance"]
    table = wide(found, index, "name", scores, {"mean": "", "lowest": "_low", "highest": "_high"})
    table = table.join(found.group_by(index).agg(pl.col("seeds").max()), on=index, maintain_order="left")
    table = table.with_columns(guided=_GUIDED)
    columns = (
        text("Base model", "backbone", terms=BACKBONES),
        text("Training strategy", "strategy", "guided", terms=STRATEGIES),
        whole("Batch size", "batch_size"),
        Column("Learning rate", ("unit1_rate",), _rate, "unit1"),
        whole("Seeds", "seeds"),
        *(estimate(head, name, small="mean, lowest to highest") for name, head in scores.items()),
    )
    note = "Runs that differ in the seed alone. A range is not an interval: it widens with the number of seeds."
    return TableSpec("seeds", "Seeds", "Variation between seeds", columns, table, (note,), sql(data, ["seed_spread"]))


def selection(data: ReportData) -> TableSpec:
    """Every evaluated run, by model and then by validation loss; no row where each model has one run."""
    found = evaluated(data)
    chosen = [m.run_id for m in found if m.selected]
    table = frame(data, "table_2_accuracy").with_columns(selected=pl.col("run_id").is_in(chosen))
    table = table.filter(not all(m.selected for m in found))
    cells = pl.DataFrame([(m.backbone, m.strategy, m.guidance) for m in found], CELL, orient="row")
    cells = cells.unique(maintain_order=True).with_row_index("place")
    table = table.join(cells, on=list(CELL)).sort("place", "validation_loss", nulls_last=True)
    series = {m.run_id: m.series for m in found if m.selected}
    table = table.with_columns(
        guided=_GUIDED, series=pl.col("run_id").replace_strict(series, default=None, return_dtype=pl.Int64)
    )
    marked: dict[str, Any] = {"mark": "strong", "where": "selected"}
    columns = (
        text("Base model", "backbone", terms=BACKBONES),
        text("Training strategy", "strategy", "guided", terms=STRATEGIES),
        whole("Batch size", "batch_size"),
        Column("Learning rate", ("unit1_rate",), _rate, "unit1"),
        whole("Seed", "seed"),
        decimal("Validation loss", "validation_loss", 3, **marked),
        estimate("Accuracy", "accuracy", ("low", "high"), small=confidence(data), **marked),
        Column("Selected", ("selected",), lambda yes: Cell("selected" if yes else ""), numeric=False, **marked),
    )
    note = (
        "Of the runs of a backbone, strategy and guidance that with the lowest validation loss (of detectors the "
        "highest validation FROC) is selected, without regard to test accuracy. The highest test accuracy among "
        "several runs is biased upwards: on other patches the model will score lower."
    )
    return TableSpec(
        "selection", "Selection", "Runs of each model by validation loss", columns, table, (note,),
        sql(data, ["table_2_accuracy", "selected_runs"]),
    )  # fmt: skip


def _rate(value: float | None) -> Cell:
    return Cell(DASH if value is None else f"{value:g}")
