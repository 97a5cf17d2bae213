"""Tables of prototypes: activation precision beside the mask's share, quality of each, and what must be said."""

import polars as pl

from lesionlens.records import ReportData
from lesionlens.reporting.data import confidence, frame, lookup, models, sql, with_models
from lesionlens.reporting.formatting import METHODS, number, with_interval
from lesionlens.reporting.tables.spec import TableSpec, decimal, estimate, in_gallery, model, text, whole

BAND = (
    "What the fine-annotation loss was shown is a band around the outline, from 0.85 to 1.25 of the radius of a disc "
    "of the lesion's area: geometry, not a radiologist's marking of the margin."
)


def precision(data: ReportData) -> TableSpec:
    """Activation precision by model, method and class, the black box's beside it, with the mask's share."""
    ci = confidence(data)
    names = dict(frame(data, "labels").select("code", "name").rows())
    every = frame(data, "activation_precisions")
    by_class = every.filter(method="each_prototype")["run_id"].implode()  # of other models, classes together
    every = every.filter(pl.col("code").is_null() | pl.col("run_id").is_in(by_class))
    found = _with_words(every).with_columns(
        whose=pl.when("black_box").then(pl.lit("black box it started from")).otherwise(pl.lit("this model")),
        mark=pl.when(pl.col("code").is_null()).then(pl.lit("total")).otherwise(pl.lit("")),
        code=pl.col("code").fill_null("all"),
    )
    columns = (
        model(),
        text("Map", "method", "whose", terms=METHODS),
        text("Class", "code", terms=names | {"all": "all classes"}),
        whole("Lesions", "n"),
        estimate("Activation precision", "value", ("low", "high"), small=ci, mark="strong"),
        decimal("Mask’s share", "share", small="chance level"),
        estimate("Difference", "difference", ("difference_low", "difference_high"), small=f"paired, {ci}", signed=True),
        text("So it is", "words"),
    )
    notes = (
        "The highest 5 % of a map's pixels: the proportion of them inside the annotation, for the true class of every "
        "test lesion (Barnett et al. 2021). A map that knows nothing reaches the mask's share of the patch.",
        "Every prototype of the class: the mean over the maps of the true class's single prototypes. Prototypes: the "
        "class's evidence of all of them, place by place.",
    )
    return TableSpec(
        "activation-precision", "Activation precision", "Do the highest places of a map lie on the lesion?", columns,
        with_models(data, found), notes, sql(data, ["activation_precisions"]),
    )  # fmt: skip


def _with_words(found: pl.DataFrame) -> pl.DataFrame:
    """Whether a map is above its chance level: by the paired interval; at or below it, by the value itself."""
    words = (
        pl.when(pl.col("value").is_null())
        .then(pl.lit(None, dtype=pl.String))
        .when(pl.col("difference") <= 0)
        .then(pl.lit("at or below chance"))
        .when(pl.col("difference_low") > 0)
        .then(pl.lit("above chance"))
        .otherwise(pl.lit("not shown to be above chance"))
    )
    return found.with_columns(words=words)


def quality(data: ReportData) -> TableSpec:
    """Every prototype with its training case, purity, coverage and activation precision."""
    names = dict(frame(data, "labels").select("code", "name").rows())
    found = frame(data, "prototypes").with_columns(
        state=pl.when("kept").then(pl.lit("kept")).otherwise(pl.lit("pruned"))
    )
    columns = (
        model(),
        whole("Prototype", "number", link=lambda row: in_gallery(run=row["run_id"], prototype=row["number"])),
        text("Class", "code", "state", terms=names),
        text("Training case", "source_key", "patient"),
        decimal("Weight", "weight", small="for its class"),
        decimal("Purity", "purity", small="of ten nearest"),
        decimal("Coverage", "coverage", small="of its class"),
        estimate("Activation precision", "value", ("low", "high"), small=confidence(data), mark="strong"),
        decimal("Mask’s share", "share"),
    )
    notes = (
        "Purity: proportion of the ten training patches most like the prototype that are of its class. Coverage: of "
        "the training patches of its class, those that look more like it than like any other prototype of the class.",
        "A number leads to the test patches in whose prediction the prototype has most points.",
    )
    return TableSpec(
        "every-prototype", "Every prototype", "Training cases that the model compares with", columns,
        with_models(data, found), notes, sql(data, ["prototypes"]),
    )  # fmt: skip


def sentences(data: ReportData) -> tuple[str, ...]:
    """What a reader must know of each model's prototypes: sources, chance level, accuracy beside the black box's."""
    found = frame(data, "prototypes").filter("kept")
    titles = {each.run_id: each.title for each in models(data)}
    said = []
    for run_id, title in titles.items():
        own = found.filter(run_id=run_id)
        if own.is_empty():
            continue
        classes, sources = own["ordinal"].n_unique(), own["source_key"].n_unique()
        few = " Fewer distinct cases than that say less than they seem to." if sources < own.height else ""
        said.append(
            f"{title}: {own.height} prototypes of {classes} classes are {sources} different training patches.{few}"
        )
        said += _on_chance(data, run_id) + _on_inside(data, run_id) + _on_accuracy(data, run_id)
    if said and lookup(data.study.get("config"), "training.prototypes.annotation") == "margin":
        said.append(BAND)
    return tuple(said)


def _on_chance(data: ReportData, run_id: int) -> list[str]:
    rows = frame(data, "activation_precisions").filter(~pl.col("black_box"), pl.col("code").is_null(), run_id=run_id)
    said = []
    for row in _with_words(rows).filter(pl.col("method").is_in(["each_prototype", "prototypes"])).iter_rows(named=True):
        name = METHODS[row["method"]].capitalize()
        numbers = f"{with_interval(row['value'], row['low'], row['high'])} beside {number(row['share'])}"
        said.append(f"{name}: activation precision {numbers}, the mask's share: {row['words']}.")
    low = frame(data, "prototypes").filter(pl.col("kept"), pl.col("value") <= pl.col("share"), run_id=run_id)
    if low.height:
        numbers = ", ".join(map(str, low["number"].to_list()))
        said.append(f"At or below chance by itself: prototype {numbers}. What such a case marks is not the lesion.")
    return said


def _on_inside(data: ReportData, run_id: int) -> list[str]:
    rows = frame(data, "explained_inside").filter(run_id=run_id, population="lesions").drop_nulls("value")
    return [
        f"Of a prediction's points {with_interval(row['value'], row['low'], row['high'])} come from prototypes matched "
        f"inside the annotation ({row['n']} lesions)."
        for row in rows.iter_rows(named=True)
    ]


def _on_accuracy(data: ReportData, run_id: int) -> list[str]:
    """Whether the model is as accurate as the black box, which is what its prototypes were not to cost."""
    said = []
    for row in frame(data, "black_boxes").filter(run_id=run_id).iter_rows(named=True):
        inside = row["other_low"] <= row["accuracy"] <= row["other_high"] or row["accuracy"] >= row["other"]
        fits = "within its interval or better" if inside else "below its interval: the prototypes cost accuracy"
        other = with_interval(row["other"], row["other_low"], row["other_high"])
        said.append(f"Accuracy {number(row['accuracy'])}; the black box that it started from has {other}: {fits}.")
    return said
