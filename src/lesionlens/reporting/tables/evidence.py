"""Checks of what decisions rest on: quadrants, occlusion test, shortcut audit, subgroups."""

from collections.abc import Callable, Sequence

import polars as pl

from lesionlens.records import BASELINES, ReportData
from lesionlens.reporting.data import ESTIMATE, Row, confidence, frame, rows, sql, wide, with_models
from lesionlens.reporting.formatting import METHODS, count, counted, interval, number, proportion, term, with_interval
from lesionlens.reporting.tables.spec import (
    Cell,
    Column,
    TableSpec,
    counts,
    decimal,
    estimate,
    in_gallery,
    model,
    text,
    whole,
)
from lesionlens.scoring.subgroups import LEVEL, OF_IMAGE, level

FEATURES = {
    "majority": "nothing (always the most frequent class)",
    "size": "size and aspect of the window",
    "intensity": "grey values: mean, spread, percentiles",
    "sharpness": "sharpness",
    "surroundings": "grey values and sharpness outside the annotation",
    "all": "all of these",
}
SUBGROUPS = {
    "lesion_type": "Lesion",
    "pathology": "Pathology",
    "mask_fraction": "Proportion of the patch inside the annotation",
    "subtlety": "Subtlety (1 subtle to 5 obvious)",
    "breast_density": "Breast density (BI-RADS)",
    "view": "View",
}
QUADRANTS = {
    (True, True): "Correct, map inside the lesion",
    (True, False): "Correct, map elsewhere",
    (False, True): "Wrong, map inside the lesion",
    (False, False): "Wrong, map elsewhere",
}
"""By whether the class is correct and whether the map's maximum lies in the annotation."""
CELLS = {
    (True, True): "correct_inside",
    (True, False): "correct_elsewhere",
    (False, True): "wrong_inside",
    (False, False): "wrong_elsewhere",
}


def quadrants(data: ReportData) -> TableSpec:
    """Per model and class: class correct or wrong, map inside the lesion or elsewhere, as counts and proportions."""
    names = dict(frame(data, "labels").select("code", "name").rows()) | {"all": "all lesions"}
    found = frame(data, "quadrants").with_columns(
        quadrant=pl.concat_str(
            pl.when("correct").then(pl.lit("correct")).otherwise(pl.lit("wrong")),
            pl.when("located").then(pl.lit("_inside")).otherwise(pl.lit("_elsewhere")),
        )
    )
    fields = {"n": "_n", "proportion": "", "low": "_low", "high": "_high"}
    table = wide(found, ["run_id", "code", "lesions"], "quadrant", CELLS.values(), fields)
    table = table.join(_hit_rates(data), on="run_id", how="left", maintain_order="left")
    rates = [f"{name}_hit_rate{end}" for name in ("map", "random") for end in ESTIMATE.values()]
    pooled = pl.col("code") == "all"
    table = table.with_columns(
        *(pl.when(pooled).then(rate).alias(rate) for rate in rates),
        mark=pl.when(pooled).then(pl.lit("total")),
        shortcut=pl.col("correct_elsewhere_n") > 0,
    )
    marked = {(True, False): {"mark": "bad", "where": "shortcut"}}
    columns = (
        model(),
        text("Class", "code", terms=names),
        Column("Lesions", ("lesions", *rates), _lesions),
        *(
            counts(words, CELLS[key], "count and proportion", link=_of_quadrant(*key), **marked.get(key, {}))
            for key, words in QUADRANTS.items()
        ),
    )
    notes = (
        "Map inside the lesion: its maximum lies in the annotation. A correct class with the map elsewhere is what a "
        "shortcut produces. Examples of each are shown below; the gallery lists all of them.",
        f"Proportions with {confidence(data)}. Below the number of all lesions: the hit rate over all of them, correct "
        "or wrong, of the model's map and of the same network with random weights.",
    )
    return TableSpec(
        "quadrants", "Quadrants", "Correct class against map on the lesion", columns, with_models(data, table), notes,
        sql(data, ["quadrants", "threshold_free_scores", "selected_runs"]),
    )  # fmt: skip


def _of_quadrant(correct: bool, located: bool) -> Callable[[Row], str]:
    chosen = {"correct": "yes" if correct else "no", "located": "yes" if located else "no"}
    counted = CELLS[correct, located] + "_n"

    def link(row: Row) -> str:
        code = None if row["code"] == "all" else row["code"]
        return in_gallery(run=row["run_id"], code=code, **chosen) if row[counted] else ""

    return link


def _hit_rates(data: ReportData) -> pl.DataFrame:
    """Hit rates over all lesions by run: of the headline method (`map_hit_rate`) and of random weights."""
    found = frame(data, "threshold_free_scores").filter(score="hit_rate", population="lesions", target="predicted")
    headline = frame(data, "table_4_localization").filter("headline").select("run_id", "method")
    own = found.join(headline, on=["run_id", "method"]).with_columns(of=pl.lit("map"))
    random = found.filter(method="random_weights").with_columns(of=pl.lit("random"))
    fields = {column: f"_hit_rate{ending}" for column, ending in ESTIMATE.items()}
    return wide(pl.concat([own, random]), ["run_id"], "of", ("map", "random"), fields)


def _lesions(n: int | None, *rates: float | None) -> Cell:
    words = {"hit rate of the map": rates[:3], "of random weights": rates[3:]}
    return Cell(count(n), tuple(f"{name} {proportion(*rate)}" for name, rate in words.items() if rate[0] is not None))


def occlusion(data: ReportData) -> TableSpec:
    """Per model: fall of the predicted class's probability with the lesion occluded, and with a control region."""
    fair = frame(data, "occlusion_fairness").drop("lesions")
    found = frame(data, "occlusion_test").join(fair, on=["run_id", "group_name"], how="left", maintain_order="left")
    pooled = (pl.col("group_name") == "all") & (pl.len().over("run_id") > 1)
    found = found.with_columns(mark=pl.when(pooled).then(pl.lit("total")))
    difference = ("difference", "difference_low", "difference_high")
    columns = (
        model(),
        text("Lesions", "group_name"),
        whole("Count", "n"),
        estimate("Lesion occluded", "lesion_drop", signed=True, small="mean fall of probability"),
        estimate("Control occluded", "control_drop", signed=True, small="same shape beside it"),
        Column("Difference", difference, _difference, confidence(data)),
        decimal("Grey change", "lesion_change", 3, small="lesion"),
        decimal("Grey change", "control_change", 3, small="control"),
        whole("No fair control", "unfair", small="lesions left out"),
    )
    grey = (
        "Grey change: mean absolute change of all pixels of the patch, 0 to 1, by the filling itself. Where the one of "
        "the lesion is far larger, a stronger change may have caused the fall. No fair control: lesions without a "
        "place in tissue for their shape; they stand in no other column."
    )
    note = (
        "Over correctly classified lesions with room for a control region. The lesion is inpainted from its "
        "surroundings and the patch classified again; then the same for a region of the same shape beside it. A "
        "difference with CI > 0 shows that the decision uses the lesion. Inpainting leaves traces, hence the control."
    )
    return TableSpec(
        "occlusion", "Occlusion test", "Does the decision need the lesion?", columns, with_models(data, found),
        (note, grey),
        sql(data, ["occlusion_test", "occlusion_fairness", "selected_runs"]),
    )  # fmt: skip


def _difference(value: float | None, low: float | None, high: float | None) -> Cell:
    mark = "" if low is None else "good" if low > 0 else "open"
    return Cell(number(value, signed=True), tuple(filter(None, [interval(low, high)])), mark)


def shortcuts(data: ReportData) -> TableSpec:
    """Accuracy of a logistic regression on features that do not describe the lesion, beside that of the networks."""
    networks = with_models(data, frame(data, "table_2_accuracy")).drop_nulls("accuracy").sort("accuracy")
    ends: dict[str, float | None] = {}
    for name, row in (("weakest", networks.head(1)), ("strongest", networks.tail(1))):
        values = row.select("accuracy", "low", "high").row(0) if row.height else (None, None, None)
        ends |= dict(zip((name, f"{name}_low", f"{name}_high"), values, strict=True))
    found = frame(data, "shortcut_audit").filter(question="class")
    table = found.with_columns(
        **{name: pl.lit(value, pl.Float64) for name, value in ends.items()},
        close=pl.col("high") >= pl.lit(ends["strongest"], pl.Float64),
        mark=pl.when(pl.col("features").is_in(["all", "surroundings"])).then(pl.lit("total")),
    )
    columns = (
        text("The regression sees", "features", terms=FEATURES),
        estimate("Accuracy", "accuracy", ("low", "high"), small=confidence(data), mark="bad", where="close"),
        estimate("Weakest network", "weakest", small="of those shown"),
        estimate("Strongest network", "strongest", small="of those shown"),
    )
    patches = count(found["n"].max() or 0)  # type: ignore[arg-type]
    note = (
        f"Over the {patches} patches of the test split. A class that can be predicted from the window's size or its "
        "grey values does not require the lesion. Red: the CI reaches the accuracy of the strongest network shown."
    )
    return TableSpec(
        "shortcuts", "Shortcut audit", "Accuracy from trivial features", columns, table, (note,),
        sql(data, ["shortcut_audit", "table_2_accuracy", "selected_runs"]),
    )  # fmt: skip


def subgroups(data: ReportData) -> tuple[TableSpec, ...]:
    """One table for each attribute: accuracy and LL of every model by its values."""
    found = frame(data, "subgroup_scores")
    present = set(found["subgroup"])
    return tuple(_subgroup(data, found.filter(subgroup=name), name) for name in SUBGROUPS if name in present)


def _of_level(name: str) -> Callable[[Row], str]:
    return lambda row: in_gallery(run=row["run_id"], group=LEVEL.format(name, row["level"]))


def _subgroup(data: ReportData, found: pl.DataFrame, name: str) -> TableSpec:
    index = ["run_id", "level"]
    scores = found.filter((pl.col("name") == "accuracy") | (pl.col("population") == "correct_lesions"))
    table = wide(scores, index, "name", ("accuracy", "ll"), ESTIMATE | {"n": "_n"})
    ends = [f"{baseline}{end}" for baseline in BASELINES for end in ESTIMATE.values()]
    against = scores.filter(name="ll").select(*index, *ends)
    table = table.join(against, on=index, how="left", maintain_order="left")
    columns = (
        model(),
        text(SUBGROUPS[name], "level", terms={}),
        whole("Patches", "accuracy_n", link=_of_level(name)),
        estimate("Accuracy", "accuracy", small=confidence(data)),
        estimate("LL\u00a0score", "ll", small=confidence(data)),
        *(estimate(METHODS[baseline].capitalize(), baseline, small="LL") for baseline in BASELINES),
    )
    return TableSpec(
        f"subgroup-{name.replace('_', '-')}", "By", SUBGROUPS[name][0].lower() + SUBGROUPS[name][1:], columns,
        with_models(data, table), sql=sql(data, ["subgroup_scores", "selected_runs"]),
    )  # fmt: skip


def with_subgroups(data: ReportData, results: pl.DataFrame) -> pl.DataFrame:
    """The results, and in `groups` the levels of the sample in every subgroup that the study scored."""
    scored = set(frame(data, "subgroup_scores")["subgroup"])
    of_lesion = frame(data, "gallery").select("sample_id", "lesion_type", "pathology")
    lesion = pl.col("mask_fraction").is_not_null()
    levels = [
        pl.when(lesion | (name in OF_IMAGE)).then(pl.format(LEVEL, pl.lit(name), level(name)))
        for name in SUBGROUPS
        if name in scored
    ]
    listed = pl.concat_list(levels).list.drop_nulls() if levels else pl.lit([], pl.List(pl.String))
    return results.join(of_lesion, on="sample_id", how="left", maintain_order="left").with_columns(groups=listed)


def filters(samples: Sequence[Row]) -> list[Row]:
    """Subgroups in their order, each with its title and its levels, ascending."""
    found = sorted({group for sample in samples for group in sample["groups"]})
    levels = {name: [group for group in found if group.startswith(f"{name}:")] for name in SUBGROUPS}
    return [{"title": SUBGROUPS[name], "levels": of_name} for name, of_name in levels.items() if of_name]


def transfer(data: ReportData) -> TableSpec | None:
    """How well the run that each model began with located, beside the model's AUC and lift; None where none did."""
    found = frame(data, "transfer")
    if found.is_empty():
        return None
    columns = (
        model(),
        text("Began with", "start_study"),
        estimate("LL\u00a0score", "start_ll", small="of that run's maps"),
        estimate("AUC", "auc", small="malignant or not"),
        estimate("Lift", "lift", small="malignant films"),
    )
    notes = [_correlation(row) for row in rows(data, "transfer_correlations")]
    notes.append("Does a model whose patch run looked at lesions look at them? Few pairs cannot answer that.")
    return TableSpec(
        "transfer", "Transfer", "From the patch run to the film", columns, with_models(data, found), tuple(notes),
        sql(data, ["transfer", "transfer_correlations"]),
    )  # fmt: skip


def _correlation(row: Row) -> str:
    """What is known of the rank correlation of the patch runs' LL with a measure; an interval takes four pairs."""
    name, pairs = term(row["measure"], {"auc": "AUC"}), counted(row["n"], "pair", "pairs")
    if row["low"] is None:
        return f"Rank correlation of that LL with {name}, over {pairs} of the record: not shown, too few or all alike."
    value = with_interval(row["rank_correlation"], row["low"], row["high"])
    return f"Rank correlation of that LL with {name}, over {pairs} of the record: {value}."
