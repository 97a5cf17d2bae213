"""Activation precision: by class for models with prototypes, classes together for others."""

import dataclasses

import polars as pl

from lesionlens.reporting.cases.tables import precision
from tests.report_data import build, rare


def test_classes_stand_apart_for_models_with_prototypes_alone() -> None:
    found = rare("activation_precisions")
    own = pl.concat([found, found.with_columns(code=pl.lit("BM"), ordinal=2)], how="vertical_relaxed")
    other = own.filter(method="grad_cam").with_columns(run_id=2)
    data = build()
    data = dataclasses.replace(
        data, frames=data.frames | {"activation_precisions": pl.concat([own, other], how="vertical_relaxed")}
    )
    shown = precision(data).frame.select("run_id", "code").rows()
    assert sorted(shown) == [(1, "BM"), (1, "BM"), (1, "all"), (1, "all"), (2, "all")]
