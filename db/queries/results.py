"""Results of a study as frames, and as files of other programs: numbers, nothing typeset."""

import json
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal

import polars as pl
from psycopg import sql
from sqlalchemy import Connection

from db import studies
from db.bulk import frame
from db.engine import make_engine

Format = Literal["parquet", "csv", "json", "duckdb"]

VIEWS = (
    "runs", "learning_curves", "table_1_patches", "table_2_accuracy", "table_3_auc", "table_4_localization", "answers",
    "classes", "samples", "class_probabilities", "class_scores", "confusion_matrix", "run_scores", "binary_scores",
    "localization_scores", "baseline_differences", "subgroup_scores", "iou_curves", "roc_curve", "reliability_curve",
    "operating_points", "quadrants", "occlusion_samples", "occlusion_test", "weight_randomisation", "shortcut_audit",
    "model_comparisons", "exclusions", "activation_precisions", "prototypes", "prototype_matches", "marks",
    "detection_scores",
)  # fmt: skip
"""Views of one study each; its per-sample results and maps are read by statements of their own."""

OF_SAMPLES = """
SELECT * FROM sample_results WHERE study_id = {} ORDER BY run_id, sample_id"""

MAPS = """
SELECT e.study_id, e.run_id, m.sample_id, m.method, m.target, m.layer, m.rows, m.cols, m.grid, m.blank, m.hit, m.energy,
    m.rank_accuracy, m.pixel_ap, m.top5, m.lift
FROM study_evaluations AS e JOIN activation_map AS m USING (evaluation_id)
WHERE e.study_id = {} ORDER BY e.run_id, m.sample_id, m.method, m.target"""


FILMS = """
SELECT p.id AS sample_id, p.key, t.height, t.width
FROM study AS s JOIN sample AS p ON p.sample_set_id = s.sample_set_id AND p.split = 'test'
JOIN sample_set AS t ON t.id = p.sample_set_id WHERE s.id = {} ORDER BY p.id"""

LESIONS = """
SELECT x.sample_id, label.ordinal, x.x0, x.y0, x.x1, x.y1
FROM study AS s JOIN sample AS p ON p.sample_set_id = s.sample_set_id AND p.split = 'test'
JOIN sample_lesion AS x ON x.sample_id = p.id JOIN lesion ON lesion.id = x.lesion_id
JOIN label ON label.id = lesion.label_id WHERE s.id = {} ORDER BY x.sample_id, x.lesion_id"""

MARKS = """
SELECT m.run_id, m.method, m.sample_id, c.ordinal, m.x0, m.y0, m.x1, m.y1, m.score
FROM marks AS m LEFT JOIN classes AS c USING (study_id, code)
WHERE m.study_id = {} AND m.strongest ORDER BY m.run_id, m.method, m.sample_id, m.rank"""

CLASSES = """
SELECT name FROM classes WHERE study_id = {} ORDER BY ordinal"""


def results(study: str | int) -> dict[str, pl.DataFrame]:
    """What the record holds of a study, named by number or name: frames by name, `sample_results` and `maps` first.

    Columns are those of the views of the same names (docs/record.md); `maps` holds unscaled grids, row by row.
    ValueError for an unknown study.
    """
    with make_engine().connect() as connection:
        return read(connection, studies.find_study(connection, str(study)))


def read(connection: Connection, study_id: int) -> dict[str, pl.DataFrame]:
    """The frames of `results`."""
    number = sql.Literal(study_id)
    queries = {"sample_results": sql.SQL(OF_SAMPLES).format(number), "maps": sql.SQL(MAPS).format(number)}
    queries |= {
        name: sql.SQL("SELECT * FROM {} WHERE study_id = {}").format(sql.Identifier(name), number) for name in VIEWS
    }
    return {name: frame(connection, query) for name, query in queries.items()}


def marked(study: str | int) -> dict[str, pl.DataFrame]:
    """What a study's test films show and what was marked there: `films`, `lesions`, `marks` (the surest at each place),
    `classes` in their order, as `lesionlens.detection.coco.coco_files` takes them.

    ValueError for an unknown study, and where nothing was marked.
    """
    with make_engine().connect() as connection:
        number = sql.Literal(studies.find_study(connection, str(study)))
        queries = {"films": FILMS, "lesions": LESIONS, "marks": MARKS, "classes": CLASSES}
        found = {name: frame(connection, sql.SQL(query).format(number)) for name, query in queries.items()}
    if found["marks"].is_empty():
        raise ValueError(
            f"study {study} has no marks: only whole films (unit: image), once evaluated, have lesions marked"
        )
    return found


def write(frames: Mapping[str, pl.DataFrame], place: Path, form: Format) -> list[Path]:
    """Write frames: a folder with a file for each, or one DuckDB file with a table for each. Returns the files.

    `place` appears only when it is complete. ValueError where it is there already, ImportError where DuckDB is missing.
    """
    with _fresh(place) as fresh:
        if form == "duckdb":
            _write_duckdb(frames, fresh, fresh.parent / "parquet")
        else:
            _write_folder(frames, fresh, form)
    return [place] if form == "duckdb" else sorted(place.iterdir())


def write_json(documents: Mapping[str, object], place: Path) -> list[Path]:
    """Write a folder with a JSON file for each. `place` as in `write`."""
    with _fresh(place) as fresh:
        fresh.mkdir()
        for name, content in documents.items():
            (fresh / f"{name}.json").write_text(json.dumps(content, ensure_ascii=False), encoding="utf-8")
    return sorted(place.iterdir())


@contextmanager
def _fresh(place: Path) -> Iterator[Path]:
    """A path to be filled, which becomes `place` at the end. ValueError where that is there already."""
    if place.exists():
        raise ValueError(f"{place} is there already: name another place with --to")
    place.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=place.parent, prefix=f".{place.name}.") as temporary:
        fresh = Path(temporary) / "new"
        yield fresh
        fresh.replace(place)


def _write_folder(frames: Mapping[str, pl.DataFrame], folder: Path, form: Format) -> None:
    folder.mkdir()
    for name, found in frames.items():
        path = folder / f"{name}.{form}"
        if form == "parquet":
            found.write_parquet(path)
        elif form == "csv":
            flat(found).write_csv(path)
        else:
            path.write_text(json.dumps(found.to_dicts(), default=str, ensure_ascii=False), encoding="utf-8")


def flat(found: pl.DataFrame) -> pl.DataFrame:
    """The frame with lists and documents as JSON text, for forms that hold plain values only."""
    nested = [name for name, kind in found.schema.items() if kind.is_nested() or kind == pl.Object]
    return found.with_columns(
        pl.Series(
            name, [None if v is None else json.dumps(_plain(v), default=str) for v in found[name]], dtype=pl.String
        )
        for name in nested
    )


def _plain(value: Any) -> Any:
    return value.to_list() if isinstance(value, pl.Series) else value


def _write_duckdb(frames: Mapping[str, pl.DataFrame], path: Path, folder: Path) -> None:
    try:
        import duckdb
    except ImportError as error:
        raise ImportError("duckdb is not installed: pip install 'lesionlens[duckdb]', or take parquet") from error
    _write_folder(frames, folder, "parquet")
    with duckdb.connect(str(path)) as connection:
        for name in frames:
            source = str(folder / f"{name}.parquet").replace("'", "''")
            connection.execute(f"CREATE TABLE \"{name}\" AS SELECT * FROM read_parquet('{source}')")  # noqa: S608
