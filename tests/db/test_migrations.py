"""Migrations keep what a filled record holds, down and up again."""

from io import BytesIO
from typing import Any

import numpy as np
import pytest
from PIL import Image
from sqlalchemy import Engine, text

from db import migrate, read, tables, write

# tables that an older record lacks, by the migration that made them
SINCE = dict.fromkeys(
    ("subgroup_score", "iou_curve", "quadrant", "reliability", "occlusion", "randomisation", "shortcut_score",
     "study_score"),
    "0006",
) | {"overview": "0007", "comparison_page": "0011", "confusion_interval": "0014",
     "baseline_difference": "0015"}  # fmt: skip
ROWS = "SELECT to_jsonb(t) - CAST(:without AS text[]) FROM {} AS t ORDER BY t::text"


def contents(engine: Engine, revision: str) -> dict[str, list[Any]]:
    """Rows of all tables, as far as a record of that revision could hold them."""
    kept = [table.name for table in tables.metadata.sorted_tables if SINCE.get(table.name, "") <= revision]
    without = {"image": ["width", "height"] if revision < "0010" else []}
    without["sample_set"] = ["finished_at"] if revision < "0007" else []
    with engine.connect() as connection:
        return {
            name: list(connection.scalars(text(ROWS.format(name)), {"without": without.get(name, [])})) for name in kept
        }


@pytest.mark.parametrize("revision", ["0014", "0013", "0012", "0011", "0010", "0009", "0006", "0004"])
def test_down_and_up_again_loses_nothing_that_the_older_record_could_hold(
    engine: Engine, filled: Any, revision: str
) -> None:
    with engine.begin() as connection:
        write.save_report(connection, filled.study, "d", "/x.html", b"<p>page</p>")
        write.save_comparison_page(connection, "/y.html", b"<p>page</p>")
    before = contents(engine, revision)
    assert all(before.values())
    with engine.connect() as connection:
        patches = read.load_samples(connection, filled.sample_set)
    migrate.downgrade(engine, revision)
    migrate.upgrade(engine)
    after = contents(engine, revision)
    if revision < "0006":  # scores below zero came with the erase test
        before["run_score"] = [row for row in before["run_score"] if not row["name"].startswith("erase_")]
    for name in before:
        assert after[name] == before[name], name
    with engine.connect() as connection:
        again = read.load_samples(connection, filled.sample_set)
    np.testing.assert_array_equal(again.pixels, patches.pixels)
    np.testing.assert_array_equal(again.masks, patches.masks)


def test_patches_were_png_before(engine: Engine, filled: Any) -> None:
    with engine.connect() as connection:
        patches = read.load_samples(connection, filled.sample_set)
    migrate.downgrade(engine, "0008")
    with engine.connect() as connection:
        rows = connection.execute(text("SELECT pixels, mask FROM sample ORDER BY id")).all()
    for n, row in enumerate(rows):
        with Image.open(BytesIO(row.pixels)) as image:
            np.testing.assert_array_equal(np.asarray(image), patches.pixels[n])
        if row.mask is not None:
            with Image.open(BytesIO(row.mask)) as image:
                np.testing.assert_array_equal(np.asarray(image), patches.masks[n])
    migrate.upgrade(engine)


def test_an_overview_knew_its_image_before(engine: Engine, filled: Any) -> None:
    """Sizes of images without an overview are what the older record could not hold."""
    migrate.downgrade(engine, "0009")
    with engine.connect() as connection:
        assert connection.execute(text("SELECT width, height FROM overview")).all() == [(300, 500)]
    migrate.upgrade(engine)
    query = "SELECT key FROM image WHERE width = 300 AND height = 500"
    with engine.connect() as connection:
        assert connection.scalars(text(query)).all() == ["image 0"]
