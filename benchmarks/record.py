"""The record: what lesionlens takes to write and read beside the bare driver, on an embedded server of its own.

    python -m benchmarks.record            about 4 minutes
    python -m benchmarks.record --small    a try in seconds

Wall time, rounds interleaved. Writing: whole evaluations of 860 samples, each in its own transaction, committed; the
other sides get the very rows that lesionlens wrote, ready as tuples. Reading: one run's sample_results as a polars
frame. Patches: a set of 224 x 224 with masks as arrays for training. Each side is checked to give the same.
"""

import argparse
import statistics
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from psycopg import sql
from sqlalchemy import Connection, Engine, Table, create_engine, insert, select, text

from benchmarks.interleaved import interleaved, ratios, spread
from db import evaluations, schema, studies
from db.bulk import driver, frame, type_name
from db.postgres import server
from db.queries import arrays
from db.queries.arrays import SAMPLES as ARRAYS
from db.tables import metadata
from lesionlens.config.data import DataConfig
from lesionlens.config.evaluation import EvaluationConfig
from lesionlens.config.study import StudyConfig
from lesionlens.config.training import GridConfig, HyperSet
from lesionlens.frames import FRAMES
from lesionlens.records import Box, DatasetIndex, Evaluation, Image, Label, Lesion, Sample, Split, Statistics
from tests.record.makers import save_samples

LABELS = tuple(Label(code, code, "mass" if n else "background", n, n > 0) for n, code in enumerate("BCDEF"))
POLICIES = ("fixed", "otsu", "validation", "area")
BASELINES = ("whole_patch", "centred_disc", "mean_mask")
tables = metadata.tables
WRITTEN = (tables["prediction"], tables["activation_map"], tables["localization"])
GOAL = 1.5
SAMPLES = "SELECT * FROM sample_results WHERE run_id = %(run_id)s ORDER BY sample_id"


@dataclass(frozen=True)
class Setting:
    """A record with one sample set and one planned run."""

    engine: Engine
    sample_set: int
    run: int
    tests: tuple[int, ...]


def prepare(engine: Engine, train: int, test: int, size: int) -> Setting:
    """Patches of noise, one lesion an image, and a run."""
    random = np.random.default_rng(0)
    count = train + test
    images = tuple(Image(f"i{n}", f"P{n:05d}", f"{n}.png", "LEFT", "CC", 2, "train") for n in range(count))
    lesions = tuple(Lesion(f"l{n}", f"i{n}", "mass", "BENIGN", LABELS[n % 5].code, f"{n}m.png") for n in range(count))
    mask = np.zeros((size, size), dtype=np.bool_)
    mask[size // 4 : size // 2, size // 4 : size // 2] = True
    patches = [
        Sample(
            f"p{n}", LABELS[n % 5].code, f"i{n}", f"l{n}", f"P{n:05d}", _part(n / train),
            Box(0, 0, size, size), Box(1, 1, size // 2, size // 2), 0.06,
            random.integers(0, 256, (size, size), dtype=np.uint8), mask,
        )
        for n in range(count)
    ]  # fmt: skip
    config = StudyConfig(
        data=DataConfig(source="phantom"),
        grid=GridConfig(backbones=("resnet18",), strategies=("gradual",), sets=(HyperSet(),)),
    )
    with engine.begin() as connection:
        index = DatasetIndex("b", "phantom", "d", LABELS, images, lesions)
        sample_set = save_samples(connection, index, "p", size, patches, statistics=[Statistics(None, 0.5, 0.29)])
        study = studies.save_study(connection, "s", "s", config.model_dump(mode="json"), "e", sample_set, {})
        run = studies.save_run(connection, study, "r", sample_set, config.grid.runs()[0], config.training, "r")
        query = select(tables["sample"].c.id).where(tables["sample"].c.split == "test").order_by(tables["sample"].c.id)
        tests = tuple(connection.scalars(query))
    return Setting(engine, sample_set, run, tests)


def _part(share: float) -> Split:
    return "train" if share < 0.85 else "validation" if share < 1 else "test"


def evaluation_of(tests: Sequence[int]) -> Evaluation:
    """The rows of one evaluation as evaluating gives them: two targets, four baselines, four policies."""
    random = np.random.default_rng(1)
    count = len(tests)
    probabilities = random.dirichlet(np.ones(5), count).astype(np.float32)
    maps, localizations = [], []
    kinds = [("grad_cam", "predicted"), ("grad_cam", "true"), ("random_weights", "predicted")]
    for method, target in [*kinds, *((name, "none") for name in BASELINES)]:
        constant = target == "none"
        base = {"sample_id": list(tests), "method": [method] * count, "target": [target] * count}
        scores = {name: random.random(count) for name in ("energy", "rank_accuracy", "pixel_ap", "top5")}
        maps.append(pl.DataFrame(dict.fromkeys(FRAMES["maps"], [None] * count) | base | scores | {
            "layer": ["none" if constant else "block"] * count, "label": [None if constant else 1] * count,
            "rows": [None if constant else 7] * count, "cols": [None if constant else 7] * count,
            "grid": [None] * count if constant else random.normal(size=(count, 49)).tolist(),
            "blank": [False] * count, "iou_curve": random.random((count, 19)).tolist(), "hit": [True] * count,
            "reason": [None] * count,
        }, schema=FRAMES["maps"]))  # fmt: skip
        for policy in ("mask",) if constant else POLICIES:
            localizations.append(pl.DataFrame(dict.fromkeys(FRAMES["localizations"], [None] * count) | base | {
                "policy": [policy] * count, "threshold": [0.5] * count, "iou": random.random(count),
                "reason": [None] * count,
            }, schema=FRAMES["localizations"]))  # fmt: skip
    predicted = {"predicted": probabilities.argmax(axis=1), "probabilities": probabilities.tolist()}
    frames = {name: pl.DataFrame(schema=schema) for name, schema in FRAMES.items()} | {
        "predictions": pl.DataFrame({"sample_id": list(tests)} | predicted, schema=FRAMES["predictions"]),
        "maps": pl.concat(maps),
        "localizations": pl.concat(localizations),
    }
    return Evaluation(frames)


def measure_writing(setting: Setting, rounds: int, at_once: int) -> None:
    """Print seconds and ratios of writing `at_once` evaluations."""
    result = evaluation_of(setting.tests)
    numbers = iter(range(10_000_000))
    ready = _rows_as_written(setting, result)

    def ours() -> None:
        for _ in range(at_once):
            with setting.engine.begin() as connection:
                evaluations.save_evaluation(
                    connection, setting.run, f"o{next(numbers)}", EvaluationConfig(), 1.0, result
                )

    def others(put: Callable[[Connection, Table, list[str], list[tuple[Any, ...]]], None]) -> Callable[[], None]:
        def whole() -> None:
            for _ in range(at_once):
                with setting.engine.begin() as connection:
                    number = _evaluation(connection, setting.run, f"x{next(numbers)}")
                    for table, (names, rows) in zip(WRITTEN, ready, strict=True):
                        put(connection, table, ["evaluation_id", *names], [(number, *row) for row in rows])

        return whole

    sides = {
        "lesionlens": ours,
        "bare COPY": others(_copy),
        "executemany": others(_executemany),
        "SQLAlchemy insert": others(_insert),
    }
    seconds = interleaved(sides, rounds, time.perf_counter, lambda: _forget(setting.engine))
    count = sum(len(rows) for _, rows in ready) * at_once
    print(f"\nWriting {at_once} evaluations of {len(setting.tests)} samples, {count:,} rows, {rounds} rounds, seconds")
    _show(seconds, "bare COPY")


def _rows_as_written(setting: Setting, result: Evaluation) -> list[tuple[list[str], list[tuple[Any, ...]]]]:
    with setting.engine.connect() as connection:
        number = evaluations.save_evaluation(connection, setting.run, "ready", EvaluationConfig(), 1.0, result)
        ready = []
        for table in WRITTEN:
            names = [c.name for c in table.columns if c.name not in ("id", "evaluation_id")]
            query = select(*(table.c[name] for name in names)).where(table.c.evaluation_id == number)
            ready.append((names, [tuple(row) for row in connection.execute(query)]))
        connection.rollback()
    return ready


def _evaluation(connection: Connection, run: int, digest: str) -> int:
    values = {"run_id": run, "digest": digest, "config": {}, "seconds": 1.0}
    return int(
        connection.execute(
            insert(tables["evaluation"]).values(values).returning(tables["evaluation"].c.id)
        ).scalar_one()
    )


def _copy(connection: Connection, table: Table, names: list[str], rows: list[tuple[Any, ...]]) -> None:
    columns = sql.SQL(", ").join(map(sql.Identifier, names))
    statement = sql.SQL("COPY {} ({}) FROM STDIN (FORMAT BINARY)").format(sql.Identifier(table.name), columns)
    with driver(connection).cursor() as cursor, cursor.copy(statement) as copy:
        copy.set_types([type_name(table.c[name].type) for name in names])
        for row in rows:
            copy.write_row(row)


def _executemany(connection: Connection, table: Table, names: list[str], rows: list[tuple[Any, ...]]) -> None:
    columns = sql.SQL(", ").join(map(sql.Identifier, names))
    places = sql.SQL(", ").join(sql.Placeholder() * len(names))
    statement = sql.SQL("INSERT INTO {} ({}) VALUES ({})").format(sql.Identifier(table.name), columns, places)
    with driver(connection).cursor() as cursor:
        cursor.executemany(statement, rows)


def _insert(connection: Connection, table: Table, names: list[str], rows: list[tuple[Any, ...]]) -> None:
    connection.execute(insert(table), [dict(zip(names, row, strict=True)) for row in rows])


def _forget(engine: Engine) -> None:
    with engine.begin() as connection:
        connection.execute(text("TRUNCATE evaluation CASCADE"))


def measure_reading(setting: Setting, rounds: int) -> None:
    """Print seconds and ratios of reading a run's sample_results into polars."""
    with setting.engine.begin() as connection:
        evaluations.save_evaluation(connection, setting.run, "e", EvaluationConfig(), 1.0, evaluation_of(setting.tests))
        connection.execute(text("ANALYZE"))
    with setting.engine.connect() as connection:

        def ours() -> pl.DataFrame:
            return frame(connection, SAMPLES, run_id=setting.run)

        def bare() -> list[Any]:
            with driver(connection).cursor(binary=True) as cursor:
                return cursor.execute(SAMPLES, {"run_id": setting.run}).fetchall()

        def polars() -> pl.DataFrame:
            query = text(SAMPLES.replace("%(run_id)s", ":run_id"))
            return pl.read_database(query, connection, execute_options={"parameters": {"run_id": setting.run}})

        assert ours().rows() == bare() and ours()["sample_id"].to_list() == list(setting.tests)
        assert polars()["sample_id"].to_list() == ours()["sample_id"].to_list()
        sides = {"lesionlens": ours, "bare binary cursor": bare, "polars.read_database": polars}
        seconds = interleaved(sides, rounds, time.perf_counter)
    print(f"\nReading the {len(setting.tests)} sample_results of a run, {rounds} rounds, seconds")
    _show(seconds, "bare binary cursor", 4)


def measure_patches(setting: Setting, rounds: int) -> None:
    """Print seconds and ratios of loading the sample set for training."""
    with setting.engine.connect() as connection:
        query = sql.SQL(ARRAYS).format(sample_set_id=sql.Literal(setting.sample_set))

        def bare() -> list[tuple[Any, ...]]:
            with driver(connection).cursor() as cursor, cursor.copy(query) as copy:
                copy.set_types(["int8", "int8", "text", "text", "bytea", "bytea", "bytea"])
                return list(copy.rows())

        known = arrays.load_samples(connection, setting.sample_set)
        rows = bare()
        assert known.pixels.tobytes() == b"".join(row[4] for row in rows)
        size = sum(len(row[4]) + len(row[5]) for row in rows) / 1e6
        sides = {"lesionlens": lambda: arrays.load_samples(connection, setting.sample_set), "bare COPY out": bare}
        seconds = interleaved(sides, rounds, time.perf_counter)
    print(f"\nLoading {len(rows):,} patches, {size:.0f} MB, {rounds} rounds, seconds")
    _show(seconds, "bare COPY out")


def _show(seconds: dict[str, list[float]], bare: str, digits: int = 3) -> None:
    for name, taken in seconds.items():
        print(f"  {name:24s} {spread(taken, digits)}")
    for name in seconds:
        if name not in ("lesionlens", bare):
            print(
                f"  {name} takes x {statistics.median(ratios(seconds, 'lesionlens', name)):.2f} as long as lesionlens"
            )
    print(f"  lesionlens takes x {spread(ratios(seconds, bare, 'lesionlens'))} as long as {bare}, goal {GOAL}")


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description="Writing and reading the record")
    parser.add_argument("--small", action="store_true", help="few rows, small patches")
    parser.add_argument("--rounds", type=int, default=7)
    options = parser.parse_args()
    train, test, size, at_once = (20, 40, 32, 1) if options.small else (2540, 860, 224, 3)
    with tempfile.TemporaryDirectory() as folder:
        record = Path(folder) / "record"
        engine = create_engine(server.start(record))
        try:
            schema.upgrade(engine)
            engine.dispose()  # connections made from here on find the views
            setting = prepare(engine, train, test, size)
            measure_writing(setting, options.rounds, at_once)
            measure_reading(setting, options.rounds)
            measure_patches(setting, options.rounds)
        finally:
            engine.dispose()
            server.stop(record)


if __name__ == "__main__":
    main()
