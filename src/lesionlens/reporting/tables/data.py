"""The data behind the numbers: exclusions, leaks between splits, normalisation, runs and configuration."""

import json
from typing import Any

import polars as pl

from lesionlens.config.data import FILM_SCALE
from lesionlens.records import ReportData
from lesionlens.reporting.data import frame, lookup, models, sql, wide
from lesionlens.reporting.formatting import (
    BY_FILE,
    BY_RULE,
    ENTITIES,
    NORMALISATIONS,
    NOTHING,
    POLICIES,
    SPLIT_RULES,
    SPLITS,
    STATUSES,
    count,
    duration,
    term,
)
from lesionlens.reporting.tables.spec import Cell, Column, TableSpec, decimal, model, text, whole

NOTES = {
    "image_turned": "note: the image is shown as its orientation says",
    "same_film": "note: several images of the data set are this film; one sample with the lesions of all",
    "both_splits": "note: the film is in the official training and test split; it is tested",
    "breast_unclear": "note: breast and background cannot be told apart; the whole film counts as breast",
    "same_pixels": "note: the pixels of another image",
    "same_view": "note: patient, side and view of another image",
    "mask_resized": "note: the mask was resized to its image",
    "background_short": "note: fewer background windows than wanted",
    "background_unreadable": "note: image for background windows is unreadable",
}
LISTED = 100


def exclusions(data: ReportData) -> TableSpec:
    """How many lesions yielded no patch, and how many notes there are about images, by reason."""
    reason = text("Reason", "reason", terms=BY_RULE | NOTES | BY_FILE)
    columns = reason, whole("Lesions", "lesions"), whole("Images", "images")
    return TableSpec(
        "exclusions", "Exclusions", "Lesions without a patch, and notes about images", columns,
        frame(data, "exclusion_reasons"),
        sql=sql(data, ["exclusion_reasons"]),
    )  # fmt: skip


def exclusion_list(data: ReportData) -> TableSpec:
    """The exclusions that the files caused, one by one, at most LISTED of them."""
    found = frame(data, "exclusions").filter(~pl.col("reason").is_in(list(BY_RULE)))
    columns = (
        text("Image", "image_key"),
        text("Lesion", "lesion_key"),
        text("Reason", "reason", terms=NOTES | BY_FILE),
        text("Detail", "detail"),
    )
    return TableSpec(
        "exclusion-list", "One by one", f"{count(found.height)} exclusions and notes caused by files", columns,
        found.head(LISTED), (f"The first {LISTED} of {count(found.height)}.",) if found.height > LISTED else (),
        sql(data, ["exclusions"]),
    )  # fmt: skip


def checklist(data: ReportData) -> TableSpec:
    """Items of CLAIM 2024 and TRIPOD+AI with what the record answers; 'not recorded' where it does not."""
    found = frame(data, "checklist")
    columns = (
        text("Item", "title", "section"),
        Column("Recorded", ("value",), lambda value: Cell(value or NOTHING), numeric=False),
        text("CLAIM 2024", "claim"),
        text("TRIPOD+AI", "tripod"),
    )
    note = (
        "Each value is what its query below gives. What no record of a computation can hold, ethical approval for "
        "example, the authors have to add."
    )
    return TableSpec(
        "checklist", "Checklist", "What CLAIM 2024 and TRIPOD+AI ask for, and what is recorded", columns, found,
        (note,), sql(data, ["checklist"]),
    )  # fmt: skip


def normalisation(data: ReportData) -> TableSpec:
    """Mean and standard deviation of grey values over the training split, of all classes and of each."""
    names = dict(frame(data, "labels").select("code", "name").rows())
    found = frame(data, "normalisation").with_columns(
        name=pl.col("code").replace_strict(names, default="all classes", return_dtype=pl.String)
    )
    columns = (
        text("Training patches", "name"),
        decimal("Mean grey value", "mean", 3),
        decimal("Standard deviation", "std", 3),
    )
    used = term(lookup(data.study.get("config"), "training.normalise"), NORMALISATIONS)
    return TableSpec(
        "normalisation", "Normalisation", "Grey values of the training split", columns, found,
        (f"Grey values between 0 and 1. This study normalises by: {used}.",), sql(data, ["normalisation"]),
    )  # fmt: skip


def leaks(data: ReportData) -> TableSpec:
    """Patients, images and lesions that two splits share."""
    index = ["split_a", "split_b"]
    table = wide(frame(data, "split_check"), index, "entity", ENTITIES, {"shared": ""})
    table = table.with_columns((pl.col(entity) > 0).alias(f"{entity}_shared") for entity in ENTITIES)
    columns = (
        Column("Between", ("split_a", "split_b"), _between, numeric=False),
        *(
            whole(f"Shared {words}", entity, mark="alarm", where=f"{entity}_shared")
            for entity, words in ENTITIES.items()
        ),
    )
    shared = dict(frame(data, "official_overlap").select("entity", "shared").rows())
    official = (
        f"The official splits of the data set share {count(shared.get('patient'))} patients, with "
        f"{count(shared.get('image', 0))} images of the same side and view; not all of them yield a patch."
    )
    return TableSpec(
        "leaks", "Leak check", "Overlap between the splits", columns, table,
        (official,) if shared.get("patient") else (), sql(data, ["split_check", "official_overlap"]),
    )  # fmt: skip


def _between(a: str, b: str) -> Cell:
    return Cell(f"{term(a, SPLITS)} and {term(b, SPLITS)}")


def runs(data: ReportData) -> TableSpec:
    """Every run of the study: its state, device and times."""
    every = models(data)
    known = pl.DataFrame(
        [(m.run_id, m.full, m.series, "" if m.selected else "not selected") for m in every],
        schema={"run_id": pl.Int64, "model": pl.String, "series": pl.Int64, "selected": pl.String},
        orient="row",
    )
    found = known.join(frame(data, "runs"), on="run_id", maintain_order="left")
    columns = (
        model("Run", "selected"),
        text("State", "status", "reason", terms=STATUSES),
        text("Device", "device"),
        whole("Epochs", "epochs"),
        Column("Training", ("seconds",), lambda seconds: Cell(duration(seconds))),
        Column("Evaluation", ("evaluation_seconds",), lambda seconds: Cell(duration(seconds))),
        whole("Seed", "seed"),
        Column("Digest", ("digest",), lambda digest: Cell((digest or "")[:12], mark="mono"), numeric=False),
    )
    return TableSpec("runs", "Runs", "Every run of the study", columns, found, sql=sql(data, ["runs"]))


def _of_model(config: object, option: str) -> object:
    """An option of the models trained here, or of the one examined."""
    return lookup(config, f"training.{option}") or lookup(config, f"examined.{option}")


def facts(data: ReportData) -> tuple[tuple[str, str], ...]:
    """The options that matter most, by name."""
    config = data.study.get("config")
    weights = {"imagenet": "ImageNet", "none": "none (random, frozen blocks calibrated)"}
    layers = {"block": "output of the last block", "conv": "the last convolution"}
    groups = {"patient": "by patient", "patch": "by patch"}
    scalings = {"relu_max": "positive part divided by its maximum", "minmax": "min-max of raw values"}
    return (
        *(_of_films(config) if lookup(config, "unit") not in (None, "patch") else _of_patches(config)),
        ("Split", term(lookup(config, "split.rule"), SPLIT_RULES)),
        ("Training and validation split", term(lookup(config, "split.group"), groups)),
        ("Normalisation", term(_of_model(config, "normalise"), NORMALISATIONS)),
        ("Pretrained weights", term(_of_model(config, "weights"), weights)),
        ("Layer of the map", term(lookup(config, "evaluation.layer"), layers)),
        ("Scaling of the map", term(lookup(config, "evaluation.scaling"), scalings)),
        ("Threshold of the headline score", term(lookup(config, "evaluation.policy"), POLICIES)),
        ("Intervals", f"bootstrap over patients, {count(lookup(config, 'evaluation.resamples'))} resamples"),
        ("Seed", str(lookup(config, "seed"))),
        ("Data set digest", str(data.study["dataset_digest"])),
        ("Sample set digest", str(data.study["sample_set_digest"])),
    )


def _of_patches(config: Any) -> tuple[tuple[str, str], ...]:
    background = lookup(config, "background.size")
    square = ", square" if lookup(config, "patches.aspect") == "keep" else ", stretched to a square"
    return (
        ("Patch size", f"{lookup(config, 'patches.size')} pixels"),
        ("Window", f"{lookup(config, 'patches.context'):g} times the lesion's bounding box{square}"),
        ("Position of the lesion", f"jitter {lookup(config, 'patches.jitter'):g} (0 centred, 1 anywhere)"),
        (
            "Background windows",
            "sizes drawn from the lesion windows" if background == "matched" else f"{background} pixels",
        ),
    )


def _of_films(config: Any) -> tuple[tuple[str, str], ...]:
    fits = {"stretch": "stretched", "pad": "padded with black"}
    height, width, fit = (lookup(config, f"images.{name}") for name in ("height", "width", "fit"))
    return (
        ("Samples", f"whole films, {fits[fit]} to {height} x {width} pixels (height x width)"),
        *(
            [("Breasts", "one sample of both views, the CC above the MLO")]
            if lookup(config, "unit") == "breast"
            else []
        ),
        ("Class of a film", "malignant by any of its lesions; its annotation is that of the lesions of its class"),
        ("Resolution of annotations and scores", f"{height // FILM_SCALE} x {width // FILM_SCALE} pixels"),
    )


def configuration(data: ReportData) -> str:
    """The study configuration as JSON, keys in their own order."""
    return json.dumps(data.study.get("config"), indent=2, ensure_ascii=False, default=str)


def versions(data: ReportData) -> tuple[tuple[str, str], ...]:
    """Package and version, sorted by name."""
    found = data.study.get("versions") or {}
    return tuple((str(name), str(found[name])) for name in sorted(found))
