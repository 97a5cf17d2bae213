"""What a report works on: frames with the SQL that gave them, and the models that they describe."""

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import polars as pl

from lesionlens.records import ReportData
from lesionlens.reporting.formatting import BACKBONES, SOURCES, STRATEGIES, counted, term, with_interval

Row = dict[str, Any]
Sign = Literal["above", "n.s.", "below"]


@dataclass(frozen=True, slots=True)
class Model:
    """One run of the study. `series` is its place in the colour order, from 0: selected runs first.

    `full` names batch size, learning rate and seed where they differ within the study; `title` only where it must.
    guidance: 'none', or how it was trained on annotations, which every title of such a model says.
    """

    run_id: int
    backbone: str
    strategy: str
    batch_size: int | None
    unit1_rate: float | None
    guidance: str
    seed: int
    status: str
    series: int
    title: str
    full: str
    short: str
    selected: bool

    @property
    def guided(self) -> bool:
        """Whether it was trained on annotations."""
        return self.guidance != "none"


@dataclass(frozen=True, slots=True)
class Score:
    """A mean, or a mean paired difference, with its interval over `n` samples of `patients`; None where there is none.

    patients is 0 where the record does not count them.
    """

    value: float | None
    low: float | None
    high: float | None
    n: int = 0
    patients: int = 0

    @property
    def text(self) -> str:
        return with_interval(self.value, self.low, self.high)

    @property
    def sign(self) -> Sign | None:
        return None if self.value is None else sign(self.low, self.high)


Part = tuple[ReportData, str, Sequence[Model]]
"""A study, its name on a page of several studies, and its models that are shown."""


def frame(data: ReportData, name: str) -> pl.DataFrame:
    """A frame by name. KeyError names the frames that there are."""
    if name not in data.frames:
        raise KeyError(f"report data has no frame {name!r}; it has {', '.join(sorted(data.frames)) or 'none'}")
    return data.frames[name]


def rows(data: ReportData, frame_name: str, /, **equal: object) -> list[Row]:
    """Rows of a frame in which every named column equals the value given."""
    found = frame(data, frame_name)
    if equal:  # polars takes no condition at all for a mask without rows
        found = found.filter([pl.col(column) == pl.lit(value) for column, value in equal.items()])
    return found.to_dicts()


def sql(data: ReportData, names: Iterable[str]) -> str:
    """The queries that gave the frames of these names, to be copied."""
    return "\n\n".join(f"{data.sql[name]};" for name in names if name in data.sql)


def with_models(data: ReportData, found: pl.DataFrame, models: Sequence[Model] | None = None) -> pl.DataFrame:
    """The rows of the models shown (or of `models`), in their order, each with its model's title and series."""
    titles = [(model.run_id, model.title, model.series) for model in (shown(data) if models is None else models)]
    schema = {"run_id": pl.Int64, "model": pl.String, "series": pl.Int64}
    named = pl.DataFrame(titles, schema=schema, orient="row")
    return named.join(found.cast({"run_id": pl.Int64}), on="run_id", maintain_order="left_right")


def wide(
    found: pl.DataFrame, index: Sequence[str], on: str, levels: Iterable[str], fields: dict[str, str], prefix: str = ""
) -> pl.DataFrame:
    """One row for each value of `index`, in order of appearance, with the columns of each level of column `on`.

    fields: columns to take, with the ending that follows `prefix` and the level in their new name. Null where a level
    has no row.
    """
    whole = found.select(index).unique(maintain_order=True)
    for level in levels:
        names = {column: f"{prefix}{level}{ending}" for column, ending in fields.items()}
        of_level = found.filter(pl.col(on) == level).select(*index, *fields).rename(names)
        whole = whole.join(of_level, on=index, how="left", maintain_order="left")
    return whole


ESTIMATE = {"value": "", "low": "_low", "high": "_high"}
"""`fields` of `wide` for an estimate and its interval."""


def models(data: ReportData) -> tuple[Model, ...]:
    """Every run of the study, in the record's order, guided ones last; titles are unique.

    A selected run that is the only one of its backbone, strategy and guidance is called by these alone. Otherwise batch
    size, learning rate and seed are named where they differ within the study.
    """
    runs = frame(data, "runs").unique(subset="run_id", keep="first", maintain_order=True).to_dicts()
    chosen = set(frame(data, "selected_runs")["run_id"]) if "selected_runs" in data.frames else set()
    chosen = chosen or {run["run_id"] for run in runs}
    differing = [name for name in ("batch_size", "unit1_rate", "seed") if len({run[name] for run in runs}) > 1]
    selected = Counter((run["backbone"], run["strategy"], run["guidance"]) for run in runs if run["run_id"] in chosen)
    order = sorted((run["run_id"] not in chosen, run["guidance"] != "none", place) for place, run in enumerate(runs))
    series = {place: number for number, (*_, place) in enumerate(order)}
    found = []
    for place, run in enumerate(runs):
        alone = run["run_id"] in chosen and selected[run["backbone"], run["strategy"], run["guidance"]] == 1
        backbone, strategy = term(run["backbone"], BACKBONES), term(run["strategy"], STRATEGIES)
        guided = [] if run["guidance"] == "none" else [f"trained on annotations ({run['guidance']})"]
        every = [*guided, *_hyper_parameters(run, differing)]
        needed = guided if alone else every
        found.append(
            Model(
                **{
                    name: run[name]
                    for name in ("run_id", "backbone", "strategy", "batch_size", "unit1_rate", "guidance")
                },
                seed=run["seed"],
                status=run["status"],
                series=series[place],
                title=", ".join([backbone, strategy, *needed]),
                full=", ".join([backbone, strategy, *every]),
                short=", ".join([backbone.replace(" with batch norm", ""), strategy.split(" ")[0], *needed]),
                selected=run["run_id"] in chosen,
            )
        )
    return tuple(sorted(found, key=lambda model: model.guided))


def _hyper_parameters(run: Row, names: list[str]) -> list[str]:
    words = {"batch_size": "batch {}", "unit1_rate": "rate {:g}", "seed": "seed {}"}
    return [words[name].format(run[name]) for name in names if run[name] is not None]


def evaluated(data: ReportData) -> tuple[Model, ...]:
    """The models that have an accuracy in the record."""
    scored = set(frame(data, "table_2_accuracy")["run_id"])
    return tuple(model for model in models(data) if model.run_id in scored)


def shown(data: ReportData) -> tuple[Model, ...]:
    """The evaluated models that validation loss selected, one for each backbone, strategy and guidance."""
    return tuple(model for model in evaluated(data) if model.selected)


def by_model(data: ReportData, found: pl.DataFrame) -> list[tuple[Model, pl.DataFrame]]:
    """Each model shown with its rows of a frame that has a run_id; models without a row are left out."""
    rows_of = [(model, found.filter(run_id=model.run_id)) for model in shown(data)]
    return [(model, of_model) for model, of_model in rows_of if of_model.height]


def lookup(config: object, path: str) -> Any:
    """A value of the study configuration by dotted path; None where a step is missing."""
    for step in path.split("."):
        if not isinstance(config, dict):
            return None
        config = config.get(step)
    return config


def level(data: ReportData) -> float:
    """The confidence level of intervals; tests are held to one minus it."""
    return float(lookup(data.study.get("config"), "evaluation.confidence") or 0.95)


def compared(data: ReportData) -> pl.DataFrame:
    """Paired differences, with `significant`: the interval, which holds for a pair alone, excludes 0; the p corrected
    over the pairs shown is below one minus the level; and runs of other equal seeds, where there are any, have the same
    sign, since interval and p are about two trained networks."""
    several = pl.col("seeds") > 1
    above = (pl.col("low") > 0) & (~several | (pl.col("lowest") > 0))
    below = (pl.col("high") < 0) & (~several | (pl.col("highest") < 0))
    significant = (above | below) & (pl.col("p_holm") < 1 - level(data))
    return frame(data, "comparison").with_columns(significant=significant.fill_null(False))


def confidence(data: ReportData) -> str:
    """The intervals' name with their confidence level: `95 % CI`."""
    return f"{level(data) * 100:g}\u00a0% CI"


def sign(low: float | None, high: float | None) -> Sign | None:
    """Where the interval of a difference lies: above 0, below 0, or n.s. where it includes 0; None without one."""
    if low is None or high is None:
        return None
    return "above" if low > 0 else "below" if high < 0 else "n.s."


def headline(data: ReportData, model: Model) -> Row | None:
    """The model's row of Table IV at the study's own method, target and threshold policy."""
    found = rows(data, "table_4_localization", run_id=model.run_id, headline=True)
    return found[0] if found else None


def headline_method(data: ReportData) -> str:
    """The attribution method of the study's headline: the first of its configuration."""
    return str((lookup(data.study.get("config"), "evaluation.methods") or ["grad_cam"])[0])


def split_uses(data: ReportData) -> str:
    """`evaluated 7 times in this record`, of the test split; empty where it was not."""
    found = rows(data, "test_uses")
    if not found or not found[0]["runs"]:
        return ""
    return f"evaluated {counted(found[0]['runs'], 'time', 'times')} in this record"


def score(row: Row, name: str = "") -> Score:
    """A score of a Table IV row: LL itself, or that of a baseline."""
    keys = (name, f"{name}_low", f"{name}_high") if name else ("ll", "low", "high")
    value, low, high = (row.get(key) for key in keys)
    return Score(value, low, high, row["n"] or 0)


UNITS = {"patch": ("patch", "patches"), "image": ("film", "films"), "breast": ("breast", "breasts")}


def unit(data: ReportData) -> tuple[str, str]:
    """What a sample of the study is called, one and several."""
    return UNITS[str(lookup(data.study.get("config"), "unit") or "patch")]


def common_unit(parts: Sequence[Part]) -> dict[str, str]:
    """`unit` and `units`: what a sample of all these studies is called, one and several."""
    words = {unit(data) for data, *_ in parts}
    one, several = words.pop() if len(words) == 1 else ("sample", "samples")
    return {"unit": one, "units": several}


def samples_tested(data: ReportData, count: int) -> str:
    """So many test samples, called what they are."""
    return counted(count, *(f"test {word}" for word in unit(data)))


def subtitle(data: ReportData) -> str:
    """What the report covers, in one line."""
    test = frame(data, "table_1_patches")["test"].sum() or 0
    parts = [
        counted(len(evaluated(data)), "evaluated model", "evaluated models"),
        counted(frame(data, "labels").height, "class", "classes"),
        samples_tested(data, int(test)),
        SOURCES.get(str(lookup(data.study.get("config"), "data.source")), ""),
    ]
    return " · ".join(part for part in parts if part)
