"""What made the report: data, splits, configuration, versions, devices and times."""

import json
from typing import Any

import polars as pl

from lesionlens.records import ReportData
from lesionlens.reporting.models import Row, frame, lookup, models, rows
from lesionlens.reporting.table import Cell, Column, Table, TableRow
from lesionlens.reporting.wording import (
    NORMALISATIONS,
    PARTS,
    POLICIES,
    SPLITS,
    STATUSES,
    UNITS,
    count,
    duration,
    number,
    plain,
)

EXCLUSIONS = {
    "overwritten": "a later lesion of the same image and class took its place",
    "no_mask": "no mask file",
    "empty_mask": "the mask marks nothing",
    "no_image": "no image file",
}


def confusion(data: ReportData) -> tuple[tuple[Any, Table], ...]:
    """(model, matrix) with counts and row shares."""
    labels = frame(data, "labels").sort("ordinal").to_dicts()
    columns = (Column("True class", numeric=False), *(Column(label["code"], small=label["name"]) for label in labels))
    result = []
    for model in models(data):
        found = rows(data, "confusion_matrix", run_id=model.run_id)
        if not found or not model.selected:
            continue
        cells = {(row["true_ordinal"], row["predicted_ordinal"]): row for row in found}
        body = []
        for true in labels:
            line = [Cell(true["code"], true["name"])]
            for predicted in labels:
                row = cells.get((true["ordinal"], predicted["ordinal"]))
                share = row["row_fraction"] if row else None
                line.append(Cell(number(share), count(row["count"]) if row else "", "heat", share or 0.0))
            body.append(TableRow(tuple(line)))
        caption = f"Confusion matrix of {model.title}: rows are true classes, columns predicted ones"
        result.append((model, Table(f"confusion-{model.run_id}", model.title, caption, columns, tuple(body))))
    return tuple(result)


def exclusions(data: ReportData) -> Table:
    """How many lesions yielded no patch, by reason."""
    columns = (Column("Reason", numeric=False), Column("Lesions"))
    found = frame(data, "exclusion_reasons").to_dicts()
    body = tuple(TableRow((Cell(plain(row["reason"], EXCLUSIONS)), Cell(count(row["lesions"])))) for row in found)
    return Table("exclusions", "Left out", "Lesions that yielded no patch", columns, body)


def leaks(data: ReportData) -> Table:
    """Patients, images and lesions that two parts share."""
    columns = (Column("Between", numeric=False), *(Column(f"Shared {words}") for words in UNITS.values()))
    found = frame(data, "split_check")
    pairs = found.select("part_a", "part_b").unique(maintain_order=True).rows()
    body = []
    for a, b in pairs:
        cells = [Cell(f"{plain(a, PARTS)} and {plain(b, PARTS)}")]
        for unit in UNITS:
            hits = found.filter((pl.col("unit") == unit) & (pl.col("part_a") == a) & (pl.col("part_b") == b))
            shared = int(hits["shared"].sum()) if hits.height else None
            cells.append(Cell(count(shared), "", "bad" if shared else ""))
        body.append(TableRow(tuple(cells)))
    return Table("leaks", "Leak check", "What two parts of the split share", columns, tuple(body))


def run_table(data: ReportData) -> Table:
    """Every run of the study: what became of it, where and how long."""
    columns = (
        Column("Run", numeric=False),
        Column("State", numeric=False),
        Column("Device", numeric=False),
        Column("Epochs"),
        Column("Time"),
        Column("Seed"),
        Column("Digest", numeric=False),
    )
    known = {row["run_id"]: row for row in frame(data, "runs").to_dicts()}
    body = []
    for model in models(data):
        row = known[model.run_id]
        epochs = rows(data, "epochs", run_id=model.run_id)
        cells = (
            Cell(model.title, "" if model.selected else "not selected"),
            Cell(plain(row["status"], STATUSES), str(row["reason"] or "")),
            Cell(str(row.get("device") or "–")),
            Cell(count(len(epochs))),
            Cell(duration(_seconds(row))),
            Cell(str(row["seed"])),
            Cell(str(row.get("digest") or "")[:12], mark="mono"),
        )
        body.append(TableRow(cells, series=model.series))
    return Table("runs", "Runs", "Every run of the study", columns, tuple(body))


def _seconds(row: Row) -> float | None:
    start, end = row.get("started_at"), row.get("finished_at")
    return None if start is None or end is None else float((end - start).total_seconds())


def facts(data: ReportData) -> tuple[tuple[str, str], ...]:
    """The choices that matter most, in the reader's terms."""
    config = data.study.get("config")
    weights = {"imagenet": "ImageNet", "none": "none (random, first half calibrated)"}
    layers = {"block": "output of the last block", "conv": "the last convolution"}
    groups = {"patient": "by patient", "patch": "by patch"}
    scalings = {"relu_max": "positive part over maximum", "minmax": "min-max of raw values"}
    background = lookup(config, "background.size")
    words = (
        ("Patch size", f"{lookup(config, 'patches.size')} pixels"),
        ("Window", f"{lookup(config, 'patches.context'):g} times the lesion's box"),
        ("Lesion's place in the window", f"jitter {lookup(config, 'patches.jitter'):g} (0 centred, 1 anywhere)"),
        (
            "Background windows",
            "sizes drawn from the lesion windows" if background == "matched" else f"{background} pixels",
        ),
        ("Split", plain(lookup(config, "split.rule"), SPLITS)),
        ("Training and validation apart", plain(lookup(config, "split.group"), groups)),
        ("Normalisation", plain(lookup(config, "training.normalise"), NORMALISATIONS)),
        ("Pretrained weights", plain(lookup(config, "training.weights"), weights)),
        ("Map taken from", plain(lookup(config, "evaluation.layer"), layers)),
        ("Map scaling", plain(lookup(config, "evaluation.scaling"), scalings)),
        ("Headline threshold", plain(lookup(config, "evaluation.policy"), POLICIES)),
        ("Intervals", f"bootstrap over patients, {count(lookup(config, 'evaluation.resamples'))} resamples"),
        ("Seed", str(lookup(config, "seed"))),
    )
    return words


def configuration(data: ReportData) -> str:
    """The study configuration as JSON, keys in their own order."""
    return json.dumps(data.study.get("config"), indent=2, ensure_ascii=False, default=str)


def versions(data: ReportData) -> tuple[tuple[str, str], ...]:
    """Package and version, sorted by name."""
    found = data.study.get("versions") or {}
    return tuple((str(name), str(found[name])) for name in sorted(found))
