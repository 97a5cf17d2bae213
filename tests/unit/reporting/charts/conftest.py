"""The synthetic record of the report's tests, and what a figure shows."""

from tests.reporting.conftest import data, make_data

__all__ = ["data", "make_data"]
