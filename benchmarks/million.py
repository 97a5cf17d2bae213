"""A record of a million predictions: every documented question and every view timed, and what a sample takes on disk.

    python -m benchmarks.million            25 studies of 48 runs on 860 samples; about 5 minutes and 15 GB of disk
    python -m benchmarks.million --small    2 studies on 40 samples, a try in a minute

One evaluation is real, of a network with random weights; its rows are copied for all other runs, so that every table
has the size and the shape of a used one. Questions are those of docs/record.md. Wall time, the server's own caches warm
from one asking before; the slowest of three.
"""

import argparse
import re
import tempfile
import time
from collections.abc import Iterator
from functools import partial
from itertools import combinations
from pathlib import Path

import numpy as np
import polars as pl
from sqlalchemy import (
    Connection,
    Engine,
    Executable,
    Table,
    bindparam,
    column,
    create_engine,
    insert,
    inspect,
    literal,
    literal_column,
    select,
    table,
    text,
)

from benchmarks.record import Setting, prepare
from db import evaluations, reports, schema, studies
from db.postgres import server
from db.queries import arrays
from db.tables import metadata
from lesionlens.config.data import DataConfig
from lesionlens.config.evaluation import EvaluationConfig
from lesionlens.config.study import StudyConfig
from lesionlens.config.training import GridConfig
from lesionlens.evaluate import EvaluationInputs, evaluate
from lesionlens.localization.baselines import random_model
from lesionlens.records import Checkpoint, EpochResult, Evaluation
from lesionlens.reporting.page import render
from lesionlens.training.fit import first_model

PAGE = Path(__file__).resolve().parents[1] / "docs" / "record.md"
EPOCHS = 45
GRID = 7
tables = metadata.tables
OF_EVALUATION = tuple(evaluations.TABLES.values())
OF_RUN = (tables["epoch"], tables["checkpoint"])
SIZES = text(
    "SELECT relname, pg_total_relation_size(oid) AS bytes, reltuples::bigint AS rows FROM pg_class"
    " WHERE relkind = 'r' AND relnamespace = 'public'::regnamespace ORDER BY bytes DESC"
)


def plan(engine: Engine, setting: Setting, count: int) -> list[tuple[int, list[int]]]:
    """Studies with the study's grid of 48 runs, a seed each: (study, its runs)."""
    planned = []
    with engine.begin() as connection:
        for seed in range(count):
            config = StudyConfig(name=f"study {seed}", data=DataConfig(source="phantom"), seed=seed,
                                 grid=GridConfig(seeds=(seed,)))  # fmt: skip
            document = config.model_dump(mode="json")
            study = studies.save_study(connection, f"study {seed}", config.name, document, "e", setting.sample_set, {})
            runs = [
                studies.save_run(
                    connection, study, f"{seed} {n}", setting.sample_set, run, config.training, f"{seed} {n}"
                )
                for n, run in enumerate(config.grid.runs())
            ]
            planned.append((study, runs))
    return planned


def first_evaluation(engine: Engine, setting: Setting, run: int) -> int:
    """A run with epochs, checkpoints and a real evaluation, its grids brought to the size of those at 224 pixels."""
    config = StudyConfig(data=DataConfig(source="phantom"), training={"weights": "none"})
    small = config.grid.runs()[0].model_copy(update={"backbone": "resnet18"})
    with engine.connect() as connection:
        patches = arrays.load_samples(connection, setting.sample_set)
        attributes = arrays.sample_attributes(connection, setting.sample_set)
    model = first_model(small, config.training, patches)
    random = partial(random_model, small, config.training, patches)
    given = EvaluationInputs(config.training.normalise, config.evaluation, patches, attributes, 0, random)
    found = evaluate(model, given, "cpu")
    has_grid, grid = pl.col("grid").is_not_null(), np.random.default_rng(0).normal(size=GRID * GRID)
    wide = found.frames["maps"].with_columns(
        rows=pl.when(has_grid).then(GRID).cast(pl.Int16), cols=pl.when(has_grid).then(GRID).cast(pl.Int16),
        grid=pl.when(has_grid).then(pl.lit(grid.tolist(), dtype=pl.List(pl.Float32))),
    )  # fmt: skip
    kept = [Checkpoint(role, 1, EPOCHS, f"{role}.safetensors", "ab" * 32, 10) for role in ("best", "last")]
    with engine.begin() as connection:
        for epoch in range(1, EPOCHS + 1):
            studies.save_epoch(
                connection, run, EpochResult(1, epoch, 1.0, 1.0, 0.5, 60.0, {"head": 1e-3}, True, tuple(kept))
            )
        return evaluations.save_evaluation(
            connection, run, "e", EvaluationConfig(), 60.0, Evaluation(found.frames | {"maps": wide})
        )


def fill(engine: Engine, setting: Setting, planned: list[tuple[int, list[int]]]) -> None:
    """The first run's rows for all others, and what belongs to studies."""
    run = planned[0][1][0]
    evaluation = first_evaluation(engine, setting, run)
    with engine.begin() as connection:
        connection.execute(text("SET LOCAL session_replication_role = replica"))  # copies refer to what is there
        connection.execute(text("SET LOCAL enable_seqscan = off"))  # the planner's figures are of the empty tables
        made = {run: evaluation}
        for _, runs in planned:
            for number in runs:
                made[number] = made.get(number) or copy_run(connection, run, evaluation, number)
        _of_sample_set(connection, setting)
        for study, runs in planned:
            _of_study(connection, study, [made[number] for number in runs])
    with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        connection.execute(text("VACUUM ANALYZE"))


def copy_run(connection: Connection, run: int, evaluation: int, number: int) -> int:
    """Rows of a run and of its evaluation, for run `number`; returns the new evaluation's number."""
    values = {"run_id": number, "digest": "e", "seconds": 60.0, "config": EvaluationConfig().model_dump(mode="json")}
    made = connection.scalar(insert(tables["evaluation"]).values(values).returning(tables["evaluation"].c.id))
    assert made is not None
    for each in OF_RUN:
        _copy_rows(connection, each, "run_id", run, number)
    for each in OF_EVALUATION:
        _copy_rows(connection, each, "evaluation_id", evaluation, made)
    studies.start_run(connection, number, "cpu")
    studies.finish_run(connection, number)
    return int(made)


def _copy_rows(connection: Connection, table: Table, key: str, old: int, new: int) -> None:
    rest = [column for column in table.columns if column.name not in ("id", key)]
    rows = select(literal(new), *rest).where(table.c[key] == old)
    connection.execute(insert(table).from_select([key, *(column.name for column in rest)], rows))


def _of_sample_set(connection: Connection, setting: Setting) -> None:
    number = literal(setting.sample_set)
    lesions = select(
        number, tables["lesion"].c.image_id, tables["lesion"].c.id, literal("mask_missing"), literal("none")
    )
    names = ["sample_set_id", "image_id", "lesion_id", "reason", "detail"]
    connection.execute(insert(tables["exclusion"]).from_select(names, lesions.limit(200)))
    check = {"sample_set_id": setting.sample_set, "entity": "patient", "split_a": "train", "split_b": "test"}
    connection.execute(insert(tables["split_check"]).values(check | {"shared": 0, "examples": []}))
    found = {"features": ["size"], "question": ["class"], "accuracy": [0.3], "low": [0.2], "high": [0.4], "n": [860]}
    evaluations.save_shortcuts(connection, setting.sample_set, "e", pl.DataFrame(found))


def _of_study(connection: Connection, study: int, numbers: list[int]) -> None:
    """Every two runs compared, and LL over common lesions."""
    pairs = [pair for pair in combinations(numbers, 2) for _ in range(2)]
    values = {"value_a": 0.6, "value_b": 0.5, "difference": 0.1, "low": 0.0, "high": 0.2, "p": 0.1, "p_holm": 0.5}
    frame = pl.DataFrame(
        {"evaluation_a": [a for a, _ in pairs], "evaluation_b": [b for _, b in pairs],
         "score": ["accuracy", "ll"] * (len(pairs) // 2)}
    ).with_columns(**{name: pl.lit(value) for name, value in values.items()}, n=pl.lit(860))  # fmt: skip
    evaluations.save_comparisons(connection, study, frame)
    score = tables["run_score"]
    names = ["name", "method", "target", "policy", "group_name", "value", "low", "high", "n", "reason"]
    rows = (
        select(literal(study), literal("common_lesions"), score.c.evaluation_id, *(score.c[name] for name in names))
        .where(score.c.evaluation_id.in_(numbers), score.c.name == "ll", score.c.population == "lesions")
        .where(score.c.policy.is_not(None))
    )
    connection.execute(
        insert(tables["study_score"]).from_select(["study_id", "population", "evaluation_id", *names], rows)
    )


def questions() -> dict[str, str]:
    """The questions of docs/record.md with their SQL."""
    found: list[tuple[str, str]] = re.findall(
        r"^([^\n]+)\n\n```sql\n(.*?)```", PAGE.read_text(), flags=re.DOTALL | re.MULTILINE
    )
    return dict(found)


def view_queries(engine: Engine) -> Iterator[tuple[str, Executable]]:
    """Every view for one run where it has runs, else for one study."""
    found = inspect(engine)
    for view in sorted(found.get_view_names()):
        columns = [column["name"] for column in found.get_columns(view)]
        keys = [column(f"{name}_id") == bindparam(name) for name in ("study", "run") if f"{name}_id" in columns]
        yield view, select(literal_column("*")).select_from(table(view)).where(*keys)


def ask(connection: Connection, title: str, query: Executable, numbers: dict[str, int]) -> None:
    """Print how long an answer takes at most, and its rows."""
    seconds = []
    for _ in range(4):
        started = time.perf_counter()
        rows = len(connection.execute(query, numbers).all())
        seconds.append(time.perf_counter() - started)
    print(f"| {title} | {rows:,} | {max(seconds[1:]) * 1000:.0f} |", flush=True)


def show_sizes(connection: Connection) -> None:
    """Print the size of every table that holds anything to speak of, indexes included."""
    count = connection.scalar(text("SELECT count(*) FROM prediction")) or 1
    print("\n| table | rows | MB | bytes a prediction |\n|---|---|---|---|")
    total = 0
    for name, size, rows in connection.execute(SIZES):
        total += size
        if size > 1e7:
            print(f"| {name} | {rows:,} | {size / 1e6:,.0f} | {size / count:,.0f} |")
    print(f"| all | | {total / 1e6:,.0f} | {total / count:,.0f} |")


def show_report(connection: Connection, study: int) -> None:
    """Print how long reading and rendering a study's report takes. Its patches are 64 pixels wide, the study's 224."""
    started = time.perf_counter()
    data = reports.report_data(connection, study)
    reading = time.perf_counter() - started
    page = render(data).page
    both = time.perf_counter() - started
    print(f"\nReport of one study: {reading:.1f} s to read, {both - reading:.1f} s to render, {len(page) / 1e6:.1f} MB")


def main() -> None:
    """Fill, ask, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--small", action="store_true", help="a try in a minute")
    options = parser.parse_args()
    count, train, test = (2, 60, 40) if options.small else (25, 2540, 860)
    with tempfile.TemporaryDirectory() as folder:
        record = Path(folder) / "record"
        engine = create_engine(server.start(record))
        try:
            schema.upgrade(engine)
            engine.dispose()  # connections made from here on find the views
            setting = prepare(engine, train, test, 64)
            planned = plan(engine, setting, count)
            fill(engine, setting, planned)
            study, runs = planned[len(planned) // 2]
            numbers = {"study": study, "run": runs[20], "other": runs[30]}
            with engine.connect() as connection:
                print("\n| question | rows | ms |\n|---|---|---|")
                for title, query in questions().items():
                    other = {"other": planned[-1][0]} if title.startswith("What changed") else {}
                    ask(connection, title, text(query), numbers | other)
                print("\n| view, of one run or study | rows | ms |\n|---|---|---|")
                for view, asked in view_queries(engine):
                    ask(connection, f"`{view}`", asked, numbers)
                show_sizes(connection)
                show_report(connection, study)
        finally:
            engine.dispose()
            server.stop(record)


if __name__ == "__main__":
    main()
