"""The data behind the numbers: Table I, what was left out and why, what parts share, normalisation."""

import polars as pl

from lesionlens.records import ReportData
from lesionlens.reporting.data import frame, lookup
from lesionlens.reporting.formatting import MINUS, NORMALISATIONS, PARTS, UNITS, count, plain
from lesionlens.reporting.queries import query
from lesionlens.reporting.tables.published import Published
from lesionlens.reporting.tables.spec import Cell, Column, Table, TableRow, plain_number
from lesionlens.reporting.tables.study import same_classes

BY_RULE = {
    "no_target_class": "belongs to no target class (benign without callback)",
    "class_of_first_row": "the breast's first finding belongs to no target class",
    "overwritten": "a later lesion of the same image and class took its place",
    "split_left_out": "official test split that the published study did not use",
}
NOTES = {
    "mask_resized": "note: the mask was resized to its image",
    "background_short": "note: fewer background windows than wanted",
    "background_unreadable": "note: image for background windows is unreadable",
}
BY_FILE = {
    "path_refused": "a path in the table is not of the expected form",
    "image_missing": "no image file",
    "image_ambiguous": "several image files fit",
    "image_refused": "the image lies outside the data folder",
    "image_unreadable": "the image file is unreadable",
    "image_too_large": "the image is too large",
    "mask_missing": "no mask file",
    "mask_ambiguous": "several mask files fit",
    "mask_refused": "the mask lies outside the data folder",
    "mask_unreadable": "the mask file is unreadable",
    "mask_too_large": "the mask is too large",
    "mask_shape": "mask and image have different shapes",
    "empty_mask": "the mask marks nothing",
}
LISTED = 100


def table_1(data: ReportData, known: Published) -> Table:
    """Patches by class and part; the published counts of both its sources where the classes are the same."""
    beside = same_classes(data, known)
    found = frame(data, "table_1_patches").sort("ordinal").to_dicts()
    columns = [
        Column("Class", numeric=False),
        Column("Training"),
        Column("Validation"),
        Column("Training + validation"),
        Column("Test"),
    ]
    if beside:
        for part, words in (("Train", "training + validation"), ("Test", "test")):
            columns += [Column(part, small="published"), Column("Difference", small=words)]
        columns += [Column("Test", small="published reports")]
    body = []
    for row in found:
        cells = [Cell(row["label"], row["code"] if row["code"] != row["label"] else "")]
        cells += [Cell(count(row[name])) for name in ("train", "validation", "train_and_validation", "test")]
        if beside:
            cells += _beside(row, known.patches[row["code"]], known.supports[row["code"]])
        body.append(TableRow(tuple(cells)))
    body.append(_total(found, known if beside else None))
    notes = (
        (
            "The study contradicts itself: its Table I counts 857 test patches, its classification reports 619. "
            "Both are shown.",
        )
        if beside
        else ()
    )
    return Table(
        "table-1", "Table I", "Patches of each class", tuple(columns), tuple(body), notes, query("table_1", data)
    )


def _total(found: list[dict[str, int]], known: Published | None) -> TableRow:
    names = ("train", "validation", "train_and_validation", "test")
    ours = {name: sum(row[name] or 0 for row in found) for name in names}
    cells = [Cell("all")] + [Cell(count(value)) for value in ours.values()]
    if known:
        sums = {part: sum(row[part] for row in known.patches.values()) for part in ("train", "test")}
        cells += _beside(ours, sums, sum(known.supports.values()))
    return TableRow(tuple(cells), "total")


def _beside(ours: dict[str, int], theirs: dict[str, int], support: int) -> list[Cell]:
    """The published counts of both splits with this study's difference, and the support of the published reports."""
    cells = []
    for part, own in (("train", ours["train_and_validation"]), ("test", ours["test"])):
        apart = (own or 0) - theirs[part]
        sign = "+" if apart > 0 else MINUS if apart < 0 else ""
        cells += [Cell(count(theirs[part])), Cell(sign + count(abs(apart)))]
    return [*cells, Cell(count(support))]


def exclusions(data: ReportData) -> Table:
    """How many lesions yielded no patch, by reason; notes about images are told apart."""
    columns = (Column("Reason", numeric=False), Column("Of", numeric=False), Column("Count"))
    body = tuple(
        TableRow(
            (
                Cell(plain(row["reason"], BY_RULE | NOTES | BY_FILE)),
                Cell("images" if row["reason"] in NOTES else "lesions"),
                Cell(count(row["lesions"])),
            )
        )
        for row in frame(data, "exclusion_reasons").to_dicts()
    )
    return Table(
        "exclusions", "Left out", "What yielded no patch, and why", columns, body, sql=query("exclusions", data)
    )


def exclusion_list(data: ReportData) -> Table:
    """The exclusions that the files caused, one by one, at most LISTED of them."""
    columns = tuple(Column(words, numeric=False) for words in ("Image", "Lesion", "Reason", "Detail"))
    found = frame(data, "exclusions").filter(~pl.col("reason").is_in(list(BY_RULE)))
    body = tuple(
        TableRow(
            (
                Cell(row["image_key"]),
                Cell(row["lesion_key"] or ""),
                Cell(plain(row["reason"], NOTES | BY_FILE)),
                Cell(row["detail"] or ""),
            )
        )
        for row in found.head(LISTED).to_dicts()
    )
    notes = (f"The first {LISTED} of {count(found.height)}.",) if found.height > LISTED else ()
    title = f"{count(found.height)} left out or noted because of files"
    return Table("exclusion-list", "One by one", title, columns, body, notes, sql=query("exclusion_list", data))


def normalisation(data: ReportData) -> Table:
    """Mean and deviation of grey values that the patches were normalised with, or would be per class."""
    names = dict(frame(data, "labels").select("code", "name").rows())
    columns = (Column("Training patches", numeric=False), Column("Mean grey"), Column("Standard deviation"))
    body = tuple(
        TableRow(
            (Cell(names.get(row["code"], "all classes")), plain_number(row["mean"], 3), plain_number(row["std"], 3))
        )
        for row in frame(data, "normalisation").to_dicts()
    )
    used = plain(lookup(data.study.get("config"), "training.normalise"), NORMALISATIONS)
    notes = (f"Grey values between 0 and 1. Used by this study: {used}.",)
    return Table(
        "normalisation",
        "Normalisation",
        "Grey values of the training split",
        columns,
        body,
        notes,
        sql=query("normalisation", data),
    )


def leaks(data: ReportData) -> Table:
    """Patients, images and lesions that two splits share."""
    columns = (Column("Between", numeric=False), *(Column(f"Shared {words}") for words in UNITS.values()))
    found = frame(data, "split_check")
    pairs = found.select("split_a", "split_b").unique(maintain_order=True).rows()
    body = []
    for a, b in pairs:
        cells = [Cell(f"{plain(a, PARTS)} and {plain(b, PARTS)}")]
        for unit in UNITS:
            hits = found.filter((pl.col("unit") == unit) & (pl.col("split_a") == a) & (pl.col("split_b") == b))
            shared = int(hits["shared"].sum()) if hits.height else None
            cells.append(Cell(count(shared), "", "alarm" if shared else ""))
        body.append(TableRow(tuple(cells)))
    return Table(
        "leaks",
        "Leak check",
        "What two parts of the split share",
        columns,
        tuple(body),
        _own_parts(data),
        sql=query("leaks", data),
    )


def _own_parts(data: ReportData) -> tuple[str, ...]:
    """What the splits that the data set came with share, whatever this study made of them."""
    shared = {row["unit"]: row["shared"] for row in frame(data, "official_overlap").to_dicts()}
    if not shared.get("patient"):
        return ()
    return (
        f"The parts that the data set came with share {count(shared['patient'])} patients, with "
        f"{count(shared.get('image', 0))} images of the same side and view; not all of them yield a patch.",
    )
