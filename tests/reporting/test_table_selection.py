"""The run of lowest validation loss is marked, whatever its test accuracy."""

import dataclasses

import polars as pl

from lesionlens.reporting.tables.selection import selection


def test_one_run_for_each_model_needs_no_selection(data):
    assert selection(data).rows == ()


def test_runs_of_a_model_stand_by_validation_loss(make_data):
    data = make_data(runs=(("vgg16", "gradual"), ("vgg16", "gradual"), ("resnet50", "gradual")))
    frames = dict(data.frames)
    losses = {1: 0.9, 2: 0.4, 3: 0.7}
    frames["table_2_accuracy"] = frames["table_2_accuracy"].with_columns(
        validation_loss=pl.col("run_id").replace_strict(losses),
        accuracy=pl.col("run_id").replace_strict({1: 0.99, 2: 0.5, 3: 0.6}),
    )
    frames["runs"] = frames["runs"].with_columns(batch_size=pl.col("run_id") * 8)
    frames["selected_runs"] = frames["selected_runs"].filter(pl.col("run_id").is_in([2, 3]))
    rows = selection(dataclasses.replace(data, frames=frames)).rows
    assert [(row.cells[0].text, row.cells[1].text, row.cells[-1].text) for row in rows] == [
        ("VGG16, gradual unfreezing", "16", "chosen"),
        ("VGG16, gradual unfreezing", "8", ""),
        ("ResNet50, gradual unfreezing", "24", "chosen"),
    ]
    assert rows[1].cells[5].text == "0.99"
