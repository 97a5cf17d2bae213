"""Shared by the tests of reporting: data of four runs, and its page rendered once."""

import dataclasses
from collections.abc import Callable

import polars as pl
import pytest

from lesionlens.records import ReportData
from lesionlens.reporting.page import Rendered, render
from tests.report_data import build


@pytest.fixture(scope="session")
def make_data() -> Callable[..., ReportData]:
    """Builds report data; arguments as `build`."""
    return build


@pytest.fixture(scope="session")
def data() -> ReportData:
    """Four finished runs on sixty patches."""
    return build()


@pytest.fixture(scope="session")
def rendered(data: ReportData) -> Rendered:
    """The page of `data` and the files beside it."""
    return render(data)


@pytest.fixture(scope="session")
def changed() -> Callable[..., ReportData]:
    """`changed(data, frame=frame or expressions by column, ...)`: the data with other frames."""

    def change(data: ReportData, **frames: pl.DataFrame | dict) -> ReportData:
        made = {
            name: data.frames[name].with_columns(**value) if isinstance(value, dict) else value
            for name, value in frames.items()
        }
        return dataclasses.replace(data, frames=data.frames | made)

    return change
