"""A record as its first released schema left it: written by that code, kept as released_0004.dump."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from sqlalchemy import create_engine, text

from db import backup, migrate, read

DUMP = Path(__file__).with_name("released_0004.dump")
COUNTS = "SELECT (SELECT count(*) FROM prediction), (SELECT count(*) FROM activation_map), (SELECT count(*) FROM patch)"


def test_the_first_released_record_still_reads(
    new_database: Callable[..., str], monkeypatch: pytest.MonkeyPatch, tiny: type
) -> None:
    url = new_database(migrated=False)
    monkeypatch.setenv("LESIONLENS_DATABASE_URL", url)
    backup.restore(DUMP)
    engine = create_engine(url)
    with engine.connect() as connection:
        assert migrate.current(connection) == migrate.head()
        assert connection.execute(text(COUNTS)).one() == (12, 72, 12)
        patches = read.load_samples(connection, 1)
        results = connection.execute(
            text("SELECT run_id, count(*), max(iou) FROM sample_results GROUP BY 1 ORDER BY 1")
        )
        assert [(run, best) for run, _, best in results] == [(1, pytest.approx(0.49)), (2, pytest.approx(0.39))]
        accuracy = text("SELECT accuracy FROM table_2_accuracy ORDER BY run_id")
        assert connection.scalars(accuracy).all() == pytest.approx([5 / 6, 4 / 6])
    made = tiny.make_patches()  # the same generator filled it
    np.testing.assert_array_equal(patches.pixels, [patch.pixels for patch in made])
    np.testing.assert_array_equal(
        patches.masks, [np.zeros_like(p.pixels, dtype=bool) if p.mask is None else p.mask for p in made]
    )
    engine.dispose()
