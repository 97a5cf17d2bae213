"""Guidance: maps and decisions of models trained on annotations, beside the same models without."""

import polars as pl

from lesionlens.config.training import GuidanceConfig
from lesionlens.records import ReportData
from lesionlens.reporting.data import ESTIMATE, confidence, frame, lookup, sql, wide
from lesionlens.reporting.formatting import BACKBONES, STRATEGIES
from lesionlens.reporting.tables.spec import Column, TableSpec, estimate, text, whole

CELL = ["backbone", "strategy", "batch_size", "head_rate", "unit1_rate", "guidance"]
MAPS = {"hit": "Hit rate", "energy": "Energy inside", "iou": "IoU"}
MEASURES = [
    "auc",
    "auc_difference",
    "blank",
    *(f"{m}{end}" for m in MAPS for end in ("", "_over_dealt", "_difference")),
]
SIZES = {"small": "smallest third", "medium": "middle third", "large": "largest third"}
UNGUIDED = "not guided"
TESTS = (
    estimate("AUC", "auc_lesion", small="lesion filled in"),
    estimate("Swap: AUC", "swap_lesion_auc", small="by the lesion"),
    estimate("Swap: AUC", "swap_surroundings_auc", small="by the surroundings"),
    estimate("Fall", "fall", small="of P(lesion), filled in"),
)
"""Columns of the tests that stand beside every localisation score of a guided model."""
_MODEL = text("Base model", "backbone", "strategy_words", "words", terms=BACKBONES)
DECIDED = ("auc_lesion", "swap_lesion_auc", "swap_surroundings_auc", "fall")


def weights(data: ReportData) -> pl.DataFrame:
    """Every guidance of the grid, as the record calls it, by weight and fraction: guidance, weight, fraction, words."""
    grid = lookup(data.study.get("config"), "grid.guidance") or []
    asked = sorted((GuidanceConfig.model_validate(each) for each in grid), key=lambda g: (g.weight, g.fraction))
    found = [(g.title, g.weight, g.fraction, g.title if g.weight else UNGUIDED) for g in asked]
    schema = {"guidance": pl.String, "weight": pl.Float64, "fraction": pl.Float64, "words": pl.String}
    return pl.DataFrame(found, schema=schema, orient="row").unique("guidance", maintain_order=True)


def cells(data: ReportData, variant: str) -> pl.DataFrame:
    """Every cell's measures of a variant, one row each in order of weight: {measure}, {measure}_low, {measure}_high."""
    found = frame(data, "guidance").filter(question="guidance", variant=variant)
    table = wide(found, [*CELL, "seeds"], "measure", MEASURES, ESTIMATE)
    counts = found.filter(measure="iou").select(*CELL, "lesions")
    table = table.join(counts, on=CELL, how="left", nulls_equal=True)
    order = weights(data).with_row_index("place")
    table = table.with_columns(strategy_words=pl.col("strategy").replace(STRATEGIES))
    return table.join(order, on="guidance", how="left").sort("backbone", "strategy", "place", nulls_last=True)


def tests(data: ReportData) -> pl.DataFrame:
    """Occlusion and swap test of every cell."""
    own = (pl.col("question") == "diagnosis") & (pl.col("measure") != "fall")
    fall = (pl.col("question") == "detection") & (pl.col("measure") == "fall")
    found = frame(data, "guidance").filter(own | fall)
    return wide(found, CELL, "measure", DECIDED, ESTIMATE)


def with_tests(data: ReportData, table: pl.DataFrame) -> pl.DataFrame:
    """The rows of runs with the columns of TESTS, of each run's cell."""
    runs = frame(data, "runs").select("run_id", "backbone", "strategy", "batch_size", "unit1_rate", "guidance")
    beside = runs.join(tests(data).drop("head_rate"), on=runs.columns[1:], how="left").unique("run_id")
    return table.join(beside.drop(runs.columns[1:]), on="run_id", how="left", maintain_order="left")


def shown_tests(table: pl.DataFrame) -> list[Column]:
    """Those of TESTS that have a value: detection has no swap, and diagnosis no fall of the probability."""
    return [column for column in TESTS if table[column.fields[0]].drop_nulls().len()]


def guidance(data: ReportData) -> TableSpec:
    """Every cell with its maps, own minus dealt and minus unguided, and the tests of its decision."""
    ci, table = confidence(data), cells(data, "all").join(tests(data), on=CELL, how="left", maintain_order="left")
    columns = [_MODEL, whole("Seeds", "seeds"), estimate("AUC", "auc", small=ci, mark="strong"),
               estimate("AUC", "auc_difference", signed=True, small="minus unguided"), *shown_tests(table)]  # fmt: skip
    for name, head in MAPS.items():
        columns += [
            estimate(head, name, small=ci),
            estimate(head, f"{name}_over_dealt", signed=True, small="own minus dealt"),
            estimate(head, f"{name}_difference", signed=True, small="minus unguided"),
        ]
    columns += [estimate("Blank maps", "blank", digits=3), whole("Lesions", "lesions")]
    notes = (
        "Over all test lesions and all seeds, maps of the predicted class. Minus unguided: paired by lesion and seed "
        "with the same model at weight 0. Dealt: the model's maps of other patients' lesions.",
        "Guidance moves maps. Whether the decision follows is in the columns beside: with the lesion filled in the AUC "
        "must fall, and of swapped lesions the lesion must tell the class, not what surrounds it.",
    )
    return TableSpec(
        "guidance", "Guidance", "Models trained on annotations, ranked apart", tuple(columns), table, notes,
        sql(data, ["guidance"]),
    )  # fmt: skip


def guidance_by_size(data: ReportData) -> TableSpec:
    """The same maps by size of the lesion."""
    parts = [cells(data, size).with_columns(size=pl.lit(words)) for size, words in SIZES.items()]
    table = pl.concat(parts, how="diagonal_relaxed").sort("backbone", "strategy", "place", maintain_order=True)
    columns = [_MODEL, text("Lesions", "size"), whole("Count", "lesions")]
    for name, head in MAPS.items():
        columns += [estimate(head, name, small=confidence(data)),
                    estimate(head, f"{name}_difference", signed=True, small="minus unguided")]  # fmt: skip
    note = (
        "Thirds of the test lesions by area in the full image: shown few annotations, a model may learn the large ones."
    )
    return TableSpec(
        "guidance-size", "Guidance by size", "What guidance does to the maps of small and large lesions",
        tuple(columns), table, (note,), sql(data, ["guidance"]),
    )  # fmt: skip
