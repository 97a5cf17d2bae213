"""Migrations keep what a filled record holds, down and up again."""

from io import BytesIO
from typing import Any

import numpy as np
import pytest
from PIL import Image
from sqlalchemy import Engine, text

from db import migrate, read

KEPT = (
    "dataset", "label", "image", "lesion", "patch", "exclusion", "normalisation", "split_check", "study", "study_run",
    "run", "epoch", "checkpoint", "evaluation", "prediction", "class_score", "run_score", "explanation", "localization",
    "comparison", "overview",
)  # fmt: skip


# sizes of all images came last: an older record holds those of its overviews
ROWS = "SELECT to_jsonb(t) - '{{finished_at, width, height}}'::text[] FROM {} AS t ORDER BY t::text"


def contents(engine: Engine) -> dict[str, list[Any]]:
    with engine.connect() as connection:
        return {name: connection.execute(text(ROWS.format(name))).all() for name in KEPT}


@pytest.mark.parametrize("revision", ["0009", "0006", "0004"])
def test_down_and_up_again_loses_nothing_that_the_older_record_could_hold(
    engine: Engine, filled: Any, revision: str
) -> None:
    before = contents(engine)
    with engine.connect() as connection:
        patches = read.load_patches(connection, filled.patch_set)
    migrate.downgrade(engine, revision)
    migrate.upgrade(engine)
    after = contents(engine)
    if revision < "0007":  # as did overviews
        del before["overview"]
    if revision < "0006":  # scores below zero came with the erase test
        before["run_score"] = [row for row in before["run_score"] if not row[0]["name"].startswith("erase_")]
    for name in before:
        assert after[name] == before[name], name
    with engine.connect() as connection:
        again = read.load_patches(connection, filled.patch_set)
    np.testing.assert_array_equal(again.pixels, patches.pixels)
    np.testing.assert_array_equal(again.masks, patches.masks)


def test_patches_were_png_before(engine: Engine, filled: Any) -> None:
    with engine.connect() as connection:
        patches = read.load_patches(connection, filled.patch_set)
    migrate.downgrade(engine, "0008")
    with engine.connect() as connection:
        rows = connection.execute(text("SELECT pixels, mask FROM patch ORDER BY id")).all()
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
