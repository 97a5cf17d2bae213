"""Guided models: in order of weight, each with its tests beside its localisation score."""

import dataclasses

import polars as pl
import pytest

from lesionlens.config.presets import demo
from lesionlens.reporting.charts.guided import guidance_curves
from lesionlens.reporting.tables.guided import guidance, guidance_by_size, shown_tests, with_tests
from tests.report_data import RUNS, build

CELL = {"backbone": RUNS[0][0], "strategy": RUNS[0][1], "batch_size": 16, "head_rate": 1e-3, "unit1_rate": 3e-4}
WEIGHTS = {"weight 10": 10, "none": 0, "weight 3": 3}


@pytest.fixture(scope="module")
def guided():
    """One cell at three weights, as the record orders them: hit rates 0.2, 0.5, 0.9, and swap tests."""
    found = []
    for title, weight in WEIGHTS.items():
        at = CELL | {"guidance": title, "seeds": 3, "lesions": 60, "patients": 40, "low": 0.1, "high": 0.95}
        hit = {0: 0.2, 3: 0.5, 10: 0.9}[weight]
        for variant in ("all", "small", "medium", "large"):
            found += [
                at | {"question": "guidance", "variant": variant, "measure": m, "value": hit} for m in ("hit", "iou")
            ]
        for measure, value in (("swap_lesion_auc", 0.5), ("auc_lesion", 0.6)):
            found.append(at | {"question": "diagnosis", "variant": "swap", "measure": measure, "value": value})
    data = build(runs=RUNS[:1], per_class=2, size=24)
    frames = data.frames | {"guidance": pl.DataFrame(found)}
    frames["runs"] = frames["runs"].with_columns(guidance=pl.lit("weight 3"))
    config = demo().model_dump(mode="json")
    config["grid"]["guidance"] = [{"weight": weight, "fraction": 1.0, "dilation": 0.0} for weight in WEIGHTS.values()]
    return dataclasses.replace(data, frames=frames, study=data.study | {"config": config})


def test_cells_stand_in_order_of_weight_and_by_size(guided):
    assert guidance(guided).frame["hit"].to_list() == [0.2, 0.5, 0.9]
    assert guidance(guided).frame["words"].to_list() == ["not guided", "weight 3", "weight 10"]
    rows = guidance_by_size(guided).frame
    assert rows["words"].to_list() == [word for word in ("not guided", "weight 3", "weight 10") for _ in range(3)]


def test_tests_that_were_made_stand_beside_every_score(guided):
    scores = with_tests(guided, pl.DataFrame({"run_id": [1], "ll": [0.4]}))
    assert (scores["swap_lesion_auc"][0], scores["auc_lesion"][0]) == (0.5, 0.6)
    assert [column.fields[0] for column in shown_tests(scores)] == ["auc_lesion", "swap_lesion_auc"]


def test_one_curve_over_the_weight(guided):
    (chart,) = guidance_curves(guided)
    assert chart.summary.startswith("At weight 0, 3, 10") and "hit rate 0.20 (0.10 to 0.95), 0.50" in chart.summary
    assert not guidance_curves(build(runs=RUNS[:1], per_class=2, size=24))
