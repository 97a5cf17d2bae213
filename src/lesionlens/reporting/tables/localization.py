"""The localisation score: beside its baselines, by kind of lesion, over other lesions, under other definitions."""

import polars as pl

from lesionlens.records import BASELINES, FILM_MAPS, ReportData
from lesionlens.reporting.data import ESTIMATE, confidence, frame, lookup, shown, sign, sql, wide, with_models
from lesionlens.reporting.formatting import (
    CRITERIA,
    DASH,
    METHODS,
    POINTS,
    POLICIES,
    TARGETS,
    interval,
    number,
    proportion,
    term,
    with_interval,
)
from lesionlens.reporting.tables.spec import Cell, Column, TableSpec, estimate, model, text, whole
from lesionlens.reporting.verdict import by_method, chosen, held

CBIS = ("cbis_kaggle", "cbis_dicom")
POPULATIONS = {
    "correct_lesions": "its own correct ones",
    "lesions": "all lesions",
    "common_lesions": "correct for every model",
}
THRESHOLD_FREE = {
    "hit_rate": "Hit rate",
    "energy": "Energy inside",
    "rank_accuracy": "Relevance rank accuracy",
    "pixel_ap": "Pixel average precision",
}
FAITHFULNESS = {"deletion_gain": "Deletion", "insertion_gain": "Insertion"}
MARKS = {"above": "good", "n.s.": "open", "below": "bad"}


def baselines(data: ReportData) -> TableSpec:
    """Every model's LL beside that of each baseline, with the paired difference."""
    ci = confidence(data)
    notes = (
        "All on the same lesions as the model's own score. Below each baseline: LL of the model minus that of the "
        f"baseline, paired by lesion. Above, below: {ci} of the difference > 0, < 0. n.s.: the CI includes 0.",
        "Centred disc: a disc of the mean size of training lesions. Mean training mask: where training lesions lie on "
        "average. Random weights: the same architecture, untrained, thresholded by the same rule. Other patients' "
        "maps: the model's own maps, each scored on up to 40 other patients' lesions.",
        "Ceiling: LL of the annotation itself on the grid of the maps. Models are compared by their share of it.",
    )
    return TableSpec(
        "baselines", "Baselines", "LL of each model against baselines",
        (
            model(),
            estimate("LL\u00a0score", "ll", ("low", "high"), small=ci, mark="strong"),
            *_ceiling_columns(),
            *_baseline_columns(),
        ),
        with_models(data, _with_differences(data).filter(group_name="all")), notes,
        sql(data, ["localization_scores", "baseline_differences", "selected_runs"]),
    )  # fmt: skip


def groups(data: ReportData) -> TableSpec:
    """LL of every label group separately, beside its own baselines."""
    columns = (
        model(),
        text("Lesions", "group_name"),
        whole("Count", "n", small="classified correctly"),
        estimate("LL\u00a0score", "ll", ("low", "high"), small=confidence(data), mark="strong"),
        *_ceiling_columns(),
        *_baseline_columns(),
    )
    notes = ["A pooled score hides differences between groups."]
    if data.study.get("dataset_kind") in CBIS:
        notes.append(
            "In CBIS-DDSM the annotations of calcifications were not refined by its authors and are far larger than "
            "the calcifications."
        )
    found = _with_differences(data).filter(pl.col("group_name") != "all", pl.col("ll").is_not_null())
    return TableSpec(
        "groups", "By kind of lesion", "Localisation of each kind of lesion", columns, with_models(data, found),
        tuple(notes), sql(data, ["localization_scores", "baseline_differences", "selected_runs"]),
    )  # fmt: skip


def _with_differences(data: ReportData) -> pl.DataFrame:
    """Headline LL over correctly classified lesions, by run and label group, with the differences from baselines."""
    index = ["run_id", "group_name"]
    fields = {"difference": "_difference", "low": "_difference_low", "high": "_difference_high"}
    differences = wide(frame(data, "baseline_differences"), index, "baseline", BASELINES, fields)
    found = frame(data, "localization_scores").filter(population="correct_lesions")
    return found.join(differences, on=index, how="left", maintain_order="left")


def _ceiling_columns() -> list[Column]:
    """The LL of a perfect map on the model's grid, the grid below it, and LL as a share of it."""

    def write(value: float | None, low: float | None, high: float | None, *sides: int | None) -> Cell:
        grid = "" if None in sides else " × ".join(map(str, sides))
        return Cell(number(value), tuple(filter(None, [interval(low, high), grid])))

    fields = ("ceiling", "ceiling_low", "ceiling_high", "map_rows", "map_cols")
    return [
        Column("Ceiling", fields, write, "of its grid"),
        Column("Share", ("ceiling_share",), lambda share: Cell(proportion(share) or DASH), "of the ceiling"),
    ]


def _baseline_columns() -> list[Column]:
    endings = ("", "_low", "_high", "_difference", "_difference_low", "_difference_high")
    return [
        Column(METHODS[name].capitalize(), tuple(name + end for end in endings), _against, "LL, and difference")
        for name in BASELINES
    ]


def _against(
    value: float | None,
    low: float | None,
    high: float | None,
    difference: float | None,
    difference_low: float | None,
    difference_high: float | None,
) -> Cell:
    """LL of a baseline with its interval; below it the model's LL minus that, as `above: +0.45 (0.42 to 0.48)`."""
    if value is None:
        return Cell(number(None))
    stands = sign(difference_low, difference_high)
    if stands is None or difference is None:
        return Cell(number(value), tuple(filter(None, [interval(low, high), "no interval"])))
    unbroken = f"{number(difference_low)} to {number(difference_high)}".replace(" ", "\u00a0")
    lines = (interval(low, high), f"{stands}: {number(difference, signed=True)} ({unbroken})")
    return Cell(number(value), tuple(filter(None, lines)), MARKS[stands])


def populations(data: ReportData) -> TableSpec:
    """LL of every model over each of POPULATIONS, with its interval and the number of lesions."""
    fields = {"ll": "", "low": "_low", "high": "_high", "n": "_n"}
    found = frame(data, "localization_scores").filter(group_name="all")
    columns = [model()]
    for name, words in POPULATIONS.items():
        mark = "strong" if name == "common_lesions" else ""
        columns += [estimate("LL\u00a0score", f"ll_{name}", small=words, mark=mark), whole("Lesions", f"ll_{name}_n")]
    note = (
        f"Intervals are {confidence(data)}. Each model is correct on other lesions; where these are easier, its score "
        "is higher. Only the lesions that every run of the study classifies correctly are the same for all models; "
        "they may be few."
    )
    return TableSpec(
        "populations", "Over which lesions", "LL over the same lesions for every model", tuple(columns),
        with_models(data, wide(found, ["run_id"], "population", POPULATIONS, fields, "ll_")), (note,),
        sql(data, ["localization_scores", "selected_runs"]),
    )  # fmt: skip


def variants(data: ReportData) -> TableSpec:
    """The same score under every stored method, target class and threshold policy."""
    found = frame(data, "table_4_localization")
    found = found.with_columns(below=pl.when("headline").then(pl.lit("headline score")))
    columns = (
        model(),
        text("Map", "method", terms=METHODS),
        text("Explains", "target", terms=TARGETS),
        text("Threshold", "policy", "below", terms=POLICIES),
        estimate("LL\u00a0score", "ll", ("low", "high"), small=confidence(data), mark="strong", where="headline"),
        whole("Lesions", "n"),
    )
    return TableSpec(
        "variants", "Other definitions", "The score under other definitions", columns, with_models(data, found),
        sql=sql(data, ["table_4_localization", "selected_runs"]),
    )  # fmt: skip


def methods(data: ReportData) -> TableSpec:
    """Every attribution method of the model that the answer is about: its scores, and what its maps alone say."""
    found, best = by_method(data), chosen(data)
    own = frame(data, "decisions").filter(pl.col("group_name").is_null(), question="localization", measure="ll")
    table = own.select("value", "low", "high", "lesions", method="variant")
    said = {method: finding.verdict for method, finding in found.items()}
    trained = {method: "trained for" for method in table["method"] if found and method not in said}
    table = table.with_columns(
        said=pl.col("method").replace_strict(said | trained, default=None, return_dtype=pl.String)
    )
    scores = frame(data, "threshold_free_scores").filter(target="predicted", run_id=best.run_id if best else -1)
    wanted = THRESHOLD_FREE | FAITHFULNESS
    over = (
        pl.when(pl.col("score").is_in(list(FAITHFULNESS)))
        .then(pl.lit("drawn_lesions"))
        .otherwise(pl.lit("correct_lesions"))
    )
    scores = scores.filter(pl.col("population") == over)
    table = table.join(
        wide(scores, ["method"], "score", wanted, ESTIMATE), on="method", how="left", maintain_order="left"
    )
    columns = (
        text("Method", "method", terms=METHODS),
        whole("Lesions", "lesions", small="explained, correct"),
        estimate("LL\u00a0score", "value", ("low", "high"), small=confidence(data), mark="strong"),
        *(estimate(head, name, small=confidence(data)) for name, head in THRESHOLD_FREE.items()),
        *(estimate(head, name, small="over random order", signed=True) for name, head in FAITHFULNESS.items()),
        text("Fit the lesions", "said", terms={}),
    )
    few = lookup(data.study.get("config"), "evaluation.perturbation_samples")
    notes = (
        f"{held(data)} Each is compared with the constant baselines, with its own maps of other patients and with its "
        "own maps of networks with random weights.",
        f"Methods that need many passes of the network for a map explain at most {few} test lesions, drawn at random, "
        "and are judged on these alone; the record holds NULL for all others.",
        "Faithfulness: pixels are removed (deletion) or added (insertion) in the order of the map, and the area under "
        "the probability is compared with that of a random order. A gain with CI > 0: the map names pixels that the "
        "model uses. LL of a map without it says nothing of the model.",
    )
    return TableSpec(
        "methods", "Methods", "Attribution methods, and whether each says the same", columns, table, notes,
        sql(data, ["decisions", "threshold_free_scores"]),
    )  # fmt: skip


def other_scores(data: ReportData) -> TableSpec:
    """Localisation scores that need no threshold, over correctly classified lesions, beside those of baselines."""
    headline = frame(data, "table_4_localization").filter("headline")
    found = frame(data, "threshold_free_scores").filter(population="correct_lesions")
    films = not found.filter(score="lift").is_empty()
    beside = {"random_weights": "predicted"} | dict.fromkeys(FILM_MAPS if films else ("centred_disc",), "none")
    shown_maps = pl.concat(
        [
            headline.select("run_id", "method", "target"),
            *(headline.select("run_id", method=pl.lit(m), target=pl.lit(target)) for m, target in beside.items()),
        ]
    )
    index = ["run_id", "method", "target"]
    names = {"lift": "Lift"} | THRESHOLD_FREE if films else THRESHOLD_FREE
    scores = wide(found, index, "score", names, ESTIMATE)
    table = shown_maps.join(scores, on=index, maintain_order="left")
    table = table.with_columns(mark=pl.when(pl.col("method").is_in((*BASELINES, *FILM_MAPS))).then(pl.lit("published")))
    columns = (
        model(),
        text("Map", "method", terms=METHODS),
        *(estimate(head, name, small=confidence(data)) for name, head in names.items()),
    )
    lift = (
        "Lift: energy inside over the proportion of the breast that the annotation is; 1 is no better than all of the "
        "breast. Bright blobs: brighter than their surroundings; no network. Sweep: windows judged by the patch run. "
    )
    note = (lift if films else "") + (
        "Hit rate (pointing game): the map's maximum lies in the annotation. Energy inside: proportion of the map's "
        "sum inside the annotation. Relevance rank accuracy: of as many strongest pixels as the annotation has, the "
        "proportion inside it. Pixel average precision: area under the precision-recall curve over all thresholds."
    )
    return TableSpec(
        "other-scores", "Without a threshold", "Scores that need no threshold", columns, with_models(data, table),
        (note,), sql(data, ["threshold_free_scores", "table_4_localization", "selected_runs"]),
    )  # fmt: skip


def froc_points(data: ReportData) -> TableSpec | None:
    """Lesions found at 0.25 to 4 false marks per film, of everything that marks; None without films."""
    found = frame(data, "detections").filter(measure="sensitivity")
    if found.is_empty():
        return None
    read = found.filter(pl.col("false_marks").is_in(list(POINTS))).with_columns(
        point=pl.col("false_marks").replace_strict(POINTS, return_dtype=pl.String)
    )
    keys = ["run_id", "method", "criterion", "group_name", "n"]
    table = with_models(data, wide(read, keys, "point", list(POINTS.values()), ESTIMATE))
    columns = (
        model(),
        text("Marks", "method", terms=METHODS),
        text("Lesions", "group_name", terms={"all": "all"}),
        text("Found", "criterion", terms=CRITERIA),
        whole("n", "n"),
        *(estimate(at, at, small=confidence(data), mark="strong" if at == "1" else "") for at in POINTS.values()),
    )
    notes = (
        "The proportion of lesions found at the threshold that leaves at most so many marks per film on no lesion. "
        "Marks of a map are its peaks; those of the bright blob have learnt nothing.",
        *_beside(data),
    )
    words = "Lesions found, by false marks per film"
    return TableSpec("froc", "FROC", words, columns, table, notes, sql(data, ["detections"]))


def _beside(data: ReportData) -> list[str]:
    """Difference from the bright blob, average precision, class of lesions found, in words."""
    notes, titles = [], {each.run_id: each.title for each in shown(data)}
    judged = frame(data, "detections").filter(pl.col("method") != "bright_blob", pl.col("run_id").is_in(list(titles)))
    for (run_id, method), own in judged.group_by("run_id", "method", maintain_order=True):
        rows = {(row["measure"], row["criterion"]): row for row in own.drop_nulls("value").iter_rows(named=True)}
        words = []
        if row := rows.get(("difference", "centre")):
            gap = with_interval(row["value"], row["low"], row["high"])
            words.append(f"at 1 false mark per film {gap} of the lesions more than the bright blob")
        for at in ("0.2", "0.5"):
            if row := rows.get(("average_precision", f"iou_{at}")):
                words.append(f"AP at an IoU of {at} {number(row['value'])}")
        if row := rows.get(("class_auc", "centre")):
            area = with_interval(row["value"], row["low"], row["high"])
            words.append(f"AUC of malignant against benign among {row['n']} lesions found {area}")
        notes += [f"{titles[run_id]}, {term(method, METHODS)}: {'; '.join(words)}."] if words else []
    return notes
