"""Names and colours of runs in a grid."""

import dataclasses

import polars as pl
import pytest

from lesionlens.reporting.data import models, shown
from lesionlens.reporting.tables.comparisons import comparisons
from lesionlens.reporting.warnings import warnings


@pytest.fixture(scope="module")
def grid(make_data):
    """Two cells of the grid, three hyper-parameter sets each; the last set of each is selected."""
    cells = (("vgg16", "gradual"), ("resnet50", "gradual"))
    data = make_data(runs=cells * 3, per_class=2)
    runs = data.frames["runs"].with_columns(batch_size=8 * (1 + (pl.col("run_id") - 1) // 2))
    selected = data.frames["selected_runs"].filter(pl.col("run_id").is_in([5, 6]))
    pairs = [(a, b) for a in range(51, 57) for b in range(a + 1, 57)]
    compared = pl.DataFrame(
        [
            {"evaluation_a": a, "evaluation_b": b, "score": "accuracy", "value_a": 0.7, "value_b": 0.6,
             "difference": 0.1, "low": -0.1, "high": 0.3, "p": 0.3, "p_holm": 1.0, "n": 10}
            for a, b in pairs
        ]
    )  # fmt: skip
    return dataclasses.replace(
        data, frames=data.frames | {"runs": runs, "selected_runs": selected, "comparison": compared}
    )


def test_selected_runs_are_called_by_their_cell_and_lead_the_colours(grid):
    assert [(model.title, model.series) for model in shown(grid)] == [
        ("VGG16, gradual unfreezing", 0),
        ("ResNet50, gradual unfreezing", 1),
    ]
    every = models(grid)
    assert len({model.title for model in every}) == len({model.series for model in every}) == 6
    assert every[0].title == "VGG16, gradual unfreezing, batch 8"
    assert every[4].full == "VGG16, gradual unfreezing, batch 24"


def test_pairs_of_the_models_shown_only(grid):
    table = comparisons(grid)
    assert [(row.cells[0].text, row.cells[1].text) for row in table.rows] == [
        ("VGG16, gradual unfreezing", "ResNet50, gradual unfreezing")
    ]
    assert "patients as independent, not their patches" in table.notes[1]
    assert "over the pairs of this table" in table.notes[1]
    assert "all 15 comparisons" in table.notes[2] and "corrected over all pairs of the study" in table.notes[2]
    alone = grid.frames["comparison"].filter((pl.col("evaluation_a") == 55) & (pl.col("evaluation_b") == 56))
    of_all = comparisons(dataclasses.replace(grid, frames=grid.frames | {"comparison": alone}))
    assert of_all.notes == table.notes[:2]


def test_warnings_do_not_list_a_whole_grid(grid):
    texts = {warning.title: warning.text for warning in warnings(grid)}
    assert texts["Few lesions behind the localisation score"].count(";") == 1
    failed = grid.frames["runs"].with_columns(run_id=pl.int_range(100, 106), status=pl.lit("failed"))
    more = failed.with_columns(run_id=pl.col("run_id") + 10)
    runs = pl.concat([grid.frames["runs"], failed, more])
    found = warnings(dataclasses.replace(grid, frames=grid.frames | {"runs": runs}))
    text = next(warning.text for warning in found if "missing" in warning.title)
    assert text.endswith("; 4 more.")


@pytest.mark.parametrize(
    ("low", "p_holm", "mark"), [(0.02, 0.01, "strong"), (0.02, 0.12, ""), (-0.1, 0.01, ""), (None, None, "")]
)
def test_a_difference_is_bold_where_interval_and_corrected_p_agree(grid, low, p_holm, mark):
    pairs = grid.frames["comparison"].with_columns(low=pl.lit(low, pl.Float64), p_holm=pl.lit(p_holm, pl.Float64))
    (row,) = comparisons(dataclasses.replace(grid, frames=grid.frames | {"comparison": pairs})).rows
    assert row.cells[3].mark == mark
