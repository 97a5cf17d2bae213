"""Tables I to IV in the layout of the published study, with the published values beside this study's."""

import polars as pl

from lesionlens.records import ReportData
from lesionlens.reporting.data import ESTIMATE, confidence, frame, shown, split_uses, sql, wide, with_models
from lesionlens.reporting.formatting import BACKBONES, DASH, STRATEGIES, STRATEGY_NUMBERS, interval, number, term
from lesionlens.reporting.tables.guided import shown_tests, with_tests
from lesionlens.reporting.tables.published import MODEL, Published
from lesionlens.reporting.tables.spec import Cell, Column, TableSpec, decimal, estimate, model, text, whole

COUNTS = ("train", "validation", "train_and_validation", "test")
HARD, PUBLISHED, DIFFERENCE = (f"{kind}from hard predictions" for kind in ("", "published, ", "difference, "))


def table_1(data: ReportData, known: Published) -> TableSpec:
    """Patches by class and split; the published counts of both its sources where the classes are the same."""
    found = frame(data, "table_1_patches").sort("ordinal")
    columns = [
        text("Class", "label", "below"),
        whole("Training", "train"),
        whole("Validation", "validation"),
        whole("Training + validation", "train_and_validation"),
        whole("Test", "test"),
    ]
    theirs: list[str] = []
    if known.same_classes(data):
        found = found.join(known.patches, on="code", how="left", maintain_order="left")
        theirs = known.patches.drop("code").columns
        columns += [
            whole("Train", "published_train", small="published"),
            whole("Difference", "train_difference", small="training + validation", signed=True),
            whole("Test", "published_test", small="published"),
            whole("Difference", "test_difference", small="test", signed=True),
            whole("Test", "published_support", small="published reports"),
        ]
    total = found.select(pl.lit("all").alias("label"), pl.lit("total").alias("mark"), pl.col(*COUNTS, *theirs).sum())
    found = pl.concat([found, total], how="diagonal_relaxed")
    found = found.with_columns(below=pl.when(pl.col("code") != pl.col("label")).then("code"))
    if theirs:
        found = found.with_columns(
            train_difference=pl.col("train_and_validation") - pl.col("published_train"),
            test_difference=pl.col("test") - pl.col("published_test"),
        )
    note = "The published Table I counts 857 test patches, the published classification reports 619. Both are shown."
    return TableSpec(
        "table-1", "Table I", "Patches of each class", tuple(columns), found, (note,) if theirs else (),
        sql(data, ["table_1_patches"]),
    )  # fmt: skip


def table_2(data: ReportData, known: Published) -> TableSpec:
    """Accuracy on test patches with its interval, beside the published accuracy of the same backbone and strategy."""
    ci, found = confidence(data), shown(data)
    others = {m.run_id: [part for part in m.full.split(", ")[2:] if not part.startswith("batch")] for m in found}
    below = {run: ", ".join(parts) for run, parts in others.items()}
    table = with_models(data, frame(data, "table_2_accuracy")).with_columns(
        below=pl.col("run_id").replace_strict(below, default="", return_dtype=pl.String)
    )
    columns = [
        text("Base model", "backbone", "below", terms=BACKBONES),
        Column("Training strategy", ("strategy",), _strategy, numeric=False),
        whole("Batch size", "batch_size"),
        estimate("Accuracy", "accuracy", ("low", "high"), small=ci, mark="strong"),
        Column("Epochs", ("best_epoch", "epochs"), _best_epoch, "of the weights kept"),
        decimal("Validation loss", "validation_loss"),
    ]
    notes: tuple[str, ...] = (
        "Of several runs with other hyper-parameters the one with the lowest validation loss is shown; test accuracy "
        "selects none.",
    )
    if uses := split_uses(data):
        words = "counting every run of any study. The more often, the less a high accuracy among them says."
        notes = (*notes, f"This test split was {uses}, {words}")
    if known.same_classes(data):
        reference = {
            "backbone": known.reference["name"],
            "batch_size": known.reference["batch_size"],
            "published_accuracy": known.reference["accuracy"],
            "mark": "published",
        }
        table = pl.concat([_beside(table, known, "accuracy"), pl.DataFrame([reference])], how="diagonal_relaxed")
        table = table.with_columns(batch_size=pl.coalesce("batch_size", "published_batch_size"))
        columns += [
            decimal("Accuracy", "published_accuracy", small="published"),
            estimate("Difference", "difference", signed=True, small=ci),
            whole("Epochs", "published_epochs", small="published"),
        ]
        without = "The published accuracies have no intervals; with 619 test patches they would be about ±0.04."
        notes = (*notes, without, *known.notes(found))
    return TableSpec(
        "table-2", "Table II", "Model accuracy on test patches", tuple(columns), table, notes,
        sql(data, ["table_2_accuracy", "selected_runs", "test_uses"]),
    )  # fmt: skip


def _strategy(code: str | None) -> Cell:
    """`gradual unfreezing` with the published name, `Strategy 1`, below."""
    return Cell(term(code or DASH, STRATEGIES), tuple(filter(None, [STRATEGY_NUMBERS.get(code or "")])))


def _best_epoch(best: int | None, epochs: int | None) -> Cell:
    return Cell(DASH) if best is None else Cell(str(best), (f"of {epochs}",))


def _beside(table: pl.DataFrame, known: Published, ours: str) -> pl.DataFrame:
    """The rows with the published values of the same model and the difference of `ours` (with `low` and `high`) from
    them, then the published rows of other models."""
    theirs = pl.col(f"published_{ours}")
    minus = {"difference": ours, "difference_low": "low", "difference_high": "high"}
    joined = table.join(known.runs, on=MODEL, how="left", maintain_order="left")
    joined = joined.with_columns(**{name: pl.col(column) - theirs for name, column in minus.items()})
    others = known.runs.join(table, on=MODEL, how="anti", maintain_order="left")
    return pl.concat([joined, others.with_columns(mark=pl.lit("published"))], how="diagonal_relaxed")


def table_3(data: ReportData, known: Published) -> TableSpec:
    """One-vs-rest AUC per class, from probabilities and from hard predictions, beside the published values."""
    labels = frame(data, "labels").sort("ordinal").to_dicts()
    codes = ["mean", *(label["code"] for label in labels)]
    areas, beside = with_models(data, frame(data, "table_3_auc")), known.same_classes(data)
    kinds = [_areas(areas, "from probabilities", "auc"), _areas(areas, HARD, "auc_hard")]
    if beside:
        theirs = areas.join(known.auc, on=[*MODEL, "code"], maintain_order="left")
        names = ("auc_hard", "auc_hard_low", "auc_hard_high")
        kinds.append(theirs.select("run_id", "code", "value", source=pl.lit(PUBLISHED)))
        kinds.append(_areas(theirs.with_columns(pl.col(*names) - pl.col("value")), DIFFERENCE, "auc_hard"))
    long = pl.concat(kinds, how="diagonal_relaxed")
    table = with_models(data, wide(long, ["run_id", "source"], "code", codes, ESTIMATE, "auc_"))
    if beside:
        others = known.auc.join(areas, on=MODEL, how="anti", maintain_order="left")
        others = others.with_columns(source=pl.lit(PUBLISHED), low=None, high=None)
        others = wide(others, [*MODEL, "source"], "code", codes, ESTIMATE, "auc_").with_columns(model=known.titles)
        table = pl.concat([table, others], how="diagonal_relaxed")
    published = pl.col("source") == PUBLISHED
    table = table.with_columns(
        mark=pl.when(published).then(pl.lit("published")), series=pl.when(~published).then("series")
    )
    heads = [("Average", confidence(data))]
    heads += [(label["code"], label["name"] if label["name"] != label["code"] else "") for label in labels]
    columns = [_area(f"auc_{code}", *head) for code, head in zip(codes, heads, strict=True)]
    notes: tuple[str, ...] = ("Use the AUC from probabilities.",)
    if beside:
        notes = (
            "The published AUC is not that of probabilities: (recall + specificity) / 2, recomputed from the published "
            "reports, matches all twenty class values within rounding. Compare the published rows with those from hard "
            "predictions, and use the AUC from probabilities for everything else.",
            *known.notes(shown(data)),
            "The published text names strategy 1 of ResNet50 as best, the published table strategy 2.",
        )
    return TableSpec(
        "table-3", "Table III", "One-vs-rest area under the ROC curve", (model("Base model", "source"), *columns),
        table, notes, sql(data, ["table_3_auc", "selected_runs"]),
    )  # fmt: skip


def _areas(areas: pl.DataFrame, source: str, name: str) -> pl.DataFrame:
    return areas.select("run_id", "code", source=pl.lit(source), value=name, low=f"{name}_low", high=f"{name}_high")


def _area(name: str, head: str, small: str) -> Column:
    def write(source: str, value: float | None, low: float | None, high: float | None) -> Cell:
        mark = "strong" if source == "from probabilities" else ""
        return Cell(number(value, signed=source == DIFFERENCE), tuple(filter(None, [interval(low, high)])), mark)

    return Column(head, ("source", name, f"{name}_low", f"{name}_high"), write, small)


def table_4(data: ReportData, known: Published) -> TableSpec:
    """LL, accuracy and their product in the published layout, with the published values of the same model."""
    ci, found = confidence(data), shown(data)
    table = with_models(data, frame(data, "table_4_localization").filter("headline"))
    columns = [
        model(),
        estimate("LL\u00a0score", "ll", ("low", "high"), small=ci, mark="strong"),
        whole("Lesions", "n", small="classified correctly"),
        estimate("Accuracy", "accuracy", small=ci),
        estimate("Accuracy × LL", "accuracy_x_ll", digits=3, small=ci),
    ]
    if frame(data, "guidance").height:  # a score that was trained for never stands alone
        table = with_tests(data, table)
        columns += shown_tests(table)
    notes: tuple[str, ...] = (
        "LL (lesion localisation): mean IoU of the thresholded map with the annotation, over correctly classified "
        "lesion patches. Models are correct on different lesions, so their LL is not strictly comparable.",
    )
    if known.same_classes(data):
        table = _beside(table, known, "ll").with_columns(
            accuracy=pl.coalesce("accuracy", pl.when(pl.col("mark") == "published").then("published_accuracy")),
            model=pl.coalesce("model", known.titles),
        )
        columns += [
            decimal("LL score", "published_ll", 3, small="published"),
            estimate("Difference", "difference", signed=True, small=ci),
            decimal("Accuracy × LL", "published_accuracy_x_ll", 3, small="published"),
        ]
        undefined = (
            "The published text states neither the threshold of the maps nor how background, which has no annotation, "
            "was counted. Counting background as 0 would lower LL of the best published model by about 28 %. Here "
            "background is left out, and the curve over all thresholds is shown below."
        )
        notes = (*notes, undefined, *known.notes(found))
    return TableSpec(
        "table-4", "Table IV", "Lesion localisation beside accuracy", tuple(columns), table, notes,
        sql(data, ["table_4_localization", "selected_runs"]),
    )  # fmt: skip
