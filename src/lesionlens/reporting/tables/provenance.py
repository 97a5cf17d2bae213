"""What made the report: data, splits, configuration, versions, devices and times."""

import json

from lesionlens.records import ReportData
from lesionlens.reporting.data import Row, frame, lookup, models, rows
from lesionlens.reporting.formatting import (
    NORMALISATIONS,
    POLICIES,
    SPLITS,
    STATUSES,
    count,
    duration,
    plain,
)
from lesionlens.reporting.queries import query
from lesionlens.reporting.tables.spec import Cell, Column, Table, TableRow


def run_table(data: ReportData) -> Table:
    """Every run of the study: what became of it, where and how long."""
    columns = (
        Column("Run", numeric=False),
        Column("State", numeric=False),
        Column("Device", numeric=False),
        Column("Epochs"),
        Column("Training"),
        Column("Evaluation"),
        Column("Seed"),
        Column("Digest", numeric=False),
    )
    known = {row["run_id"]: row for row in frame(data, "runs").to_dicts()}
    body = []
    for model in models(data):
        row = known[model.run_id]
        epochs = rows(data, "epochs", run_id=model.run_id)
        cells = (
            Cell(model.full, "" if model.selected else "not selected"),
            Cell(plain(row["status"], STATUSES), str(row["reason"] or "")),
            Cell(str(row.get("device") or "–")),
            Cell(count(len(epochs))),
            Cell(duration(_seconds(row))),
            Cell(duration(row.get("evaluation_seconds"))),
            Cell(str(row["seed"])),
            Cell(str(row.get("digest") or "")[:12], mark="mono"),
        )
        body.append(TableRow(cells, series=model.series))
    return Table("runs", "Runs", "Every run of the study", columns, tuple(body), sql=query("runs", data))


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
        ("Data set digest", str(data.study["dataset_digest"])),
        ("Sample set digest", str(data.study["sample_set_digest"])),
    )
    return words


def configuration(data: ReportData) -> str:
    """The study configuration as JSON, keys in their own order."""
    return json.dumps(data.study.get("config"), indent=2, ensure_ascii=False, default=str)


def versions(data: ReportData) -> tuple[tuple[str, str], ...]:
    """Package and version, sorted by name."""
    found = data.study.get("versions") or {}
    return tuple((str(name), str(found[name])) for name in sorted(found))
