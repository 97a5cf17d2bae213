"""Examples of each quadrant: the patches that a model is surest of."""

from collections.abc import Sequence

from lesionlens.records import ReportData
from lesionlens.reporting.models import Model, frame, rows
from lesionlens.reporting.table_evidence import QUADRANTS

SHOWN = 6


def examples(data: ReportData, models: Sequence[Model]) -> dict[str, list[list[str]]]:
    """Patch keys by run number, a list for each of QUADRANTS: at most SHOWN, the most confident prediction first.

    Over all lesion classes; a model without quadrants in the record is left out.
    """
    result = {}
    for model in models:
        found = rows(data, "quadrants", run_id=model.run_id, code="all")
        if not found:
            continue
        sure = frame(data, "sample_results").filter(run_id=model.run_id)
        sure = sure.sort("confidence", "sample_id", descending=[True, False], nulls_last=True)
        members = {(row["correct"], row["located"]): row["sample_ids"] for row in found}
        result[str(model.run_id)] = [
            sure.filter(sure["sample_id"].is_in(members.get(key, [])))["patch_key"].head(SHOWN).to_list()
            for key in QUADRANTS
        ]
    return result
