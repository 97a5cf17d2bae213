"""What a figure shows: its marks, lines and words, read from the artists."""

import dataclasses

import numpy as np


def replaced(data, **frames):
    """The record with other frames."""
    return dataclasses.replace(data, frames=data.frames | frames)


def marks(chart):
    """Tooltip -> (x, y) of every mark with one, in data units."""
    (axes,) = chart.figure.axes
    found = [line for line in axes.lines if str(line.get_gid()).startswith("tip:")]
    return {line.get_gid().removeprefix("tip:"): tuple(line.get_xydata()[0]) for line in found}


def lines(chart, width):
    """Points [n x 2] of every line of a width, in drawing order."""
    (axes,) = chart.figure.axes
    found = [line for line in axes.lines if line.get_marker() == "None"]
    return [np.asarray(line.get_xydata()) for line in found if line.get_linewidth() == width]


def colours(chart):
    """Colours of the lines without marks."""
    (axes,) = chart.figure.axes
    return [line.get_color() for line in axes.lines if line.get_marker() == "None"]


def words(chart):
    """Every word on the axes, in drawing order."""
    (axes,) = chart.figure.axes
    return [text.get_text() for text in axes.texts]


def heights(chart):
    """Height of every word on the axes, in units from the bottom of the figure."""
    (axes,) = chart.figure.axes
    return {text.get_text(): text.get_transform().transform(text.get_position())[1] for text in axes.texts}
