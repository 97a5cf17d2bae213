"""Patch runs beside the films' runs that begin with them: the pairs, and how their ranks go together."""

import json

import numpy as np
import pytest
from scipy.stats import spearmanr
from sqlalchemy import Connection, text

from db import datasets, studies
from db.queries import starts
from tests.record.makers import Filled


def test_a_pair_is_a_run_and_the_run_that_it_begins_with(connection: Connection, filled: Filled) -> None:
    first, second = filled.runs
    assert not connection.execute(text("SELECT * FROM transfer")).all()
    begin = text(
        "UPDATE run SET config = jsonb_set(config, '{training,start}',"
        " to_jsonb((SELECT digest FROM run WHERE id = :first))) WHERE id = :second"
    )
    connection.execute(begin, {"first": first, "second": second})
    scores = text(
        "INSERT INTO run_score (evaluation_id, name, method, target, population, group_name, value, low, high, n)"
        " VALUES (:evaluation, 'lift', 'grad_cam', 'predicted', 'lesions', 'malignant', 3.5, 2.0, 5.0, 4),"
        " (:evaluation, 'malignant_auc', NULL, NULL, 'all', 'all', 0.7, 0.6, 0.8, 4) ON CONFLICT DO NOTHING"
    )
    connection.execute(scores, {"evaluation": filled.evaluations[1]})
    [row] = connection.execute(text("SELECT * FROM transfer")).mappings().all()
    assert (row["run_id"], row["start_run_id"], row["lift"], row["lift_high"]) == (second, first, 3.5, 5.0)
    headline = text("SELECT ll FROM table_4_localization WHERE run_id = :run AND headline")
    assert row["start_ll"] == connection.scalar(headline, {"run": first})
    auc = text("SELECT value FROM binary_scores WHERE run_id = :run AND side = 'malignant' AND score = 'auc'")
    assert row["auc"] == connection.scalar(auc, {"run": second})
    found = connection.execute(text("SELECT measure, n, low FROM transfer_correlations ORDER BY measure")).all()
    assert [tuple(each) for each in found] == [("auc", 1, None), ("lift", 1, None)]


@pytest.mark.parametrize("seed", range(3))
def test_the_rank_correlation_is_spearmans(connection: Connection, seed: int) -> None:
    random = np.random.default_rng(seed)
    pairs = random.integers(0, 6, (12, 3)) / 10
    kinds = connection.execute(
        text("SELECT column_name, data_type FROM information_schema.columns WHERE table_name = 'transfer'"
             " ORDER BY ordinal_position")
    ).all()  # fmt: skip
    rows = []
    for n, (before, auc, lift) in enumerate(pairs):
        known = {"start_run_id": n, "run_id": 100 + n, "start_ll": before, "auc": auc, "lift": lift}
        rows.append(
            "SELECT " + ", ".join(f"CAST({known.get(name, 'NULL')} AS {kind}) AS {name}" for name, kind in kinds)
        )
    connection.execute(text("CREATE OR REPLACE VIEW lens.transfer AS " + " UNION ALL ".join(rows)))
    found = connection.execute(text("SELECT measure, rank_correlation, low, high, n FROM transfer_correlations")).all()
    for measure, value, low, high, count in found:
        expected = spearmanr(pairs[:, 0], pairs[:, 1 if measure == "auc" else 2]).statistic
        assert value == pytest.approx(expected) and count == 12
        half = 1.959964 * np.sqrt(1.06 / 9)
        assert (low, high) == pytest.approx(
            (np.tanh(np.arctanh(expected) - half), np.tanh(np.arctanh(expected) + half))
        )
    assert {row[0] for row in found} == {"auc", "lift"}


def test_films_begin_with_patches_of_their_scale_alone(connection: Connection, filled: Filled) -> None:
    size = {"height": 96, "width": 64, "fit": "stretch"}
    dataset = connection.scalar(text("SELECT dataset_id FROM sample_set"))
    config = {"unit": "image", "images": size}
    films = datasets.open_sample_set(connection, int(dataset or 0), "films", config, (96, 64, 4))
    wanted = studies.run_row(connection, filled.runs[0]).config
    put = text("UPDATE sample_set SET config = CAST(:config AS jsonb) WHERE id = :number")

    def begin(frame: str, images: dict[str, object], unit: str = "patch") -> str:
        given = json.dumps({"unit": unit, "patches": {"frame": frame}, "images": images})
        connection.execute(put, {"config": given, "number": filled.sample_set})
        return starts.run_to_start(connection, "tiny", wanted, films)

    digest = connection.scalar(text("SELECT digest FROM run WHERE id = :run"), {"run": filled.runs[0]})
    assert begin("image", size) == begin("lesion", size, unit="image") == digest
    with pytest.raises(ValueError, match=r"patches\.frame image"):
        begin("lesion", size)
    with pytest.raises(ValueError, match="films of another size or fit"):
        begin("image", size | {"height": 128})
