"""Examples are members of their quadrant, the surest first."""

import dataclasses

from lesionlens.reporting.data import shown
from lesionlens.reporting.gallery import SHOWN, examples
from lesionlens.reporting.tables.evidence import QUADRANTS


def test_each_quadrant_shows_its_own_patches_surest_first(data):
    found = examples(data, shown(data))
    assert list(found) == ["1", "2", "3", "4"]
    samples = data.frames["sample_results"].filter(run_id=2)
    for keys, (correct, located) in zip(found["2"], QUADRANTS, strict=True):
        of_quadrant = samples.filter(correct=correct, hit=located).sort("confidence", descending=True)
        assert keys == of_quadrant["sample_key"].head(SHOWN).to_list() and keys


def test_a_model_without_quadrants_has_no_examples(data):
    empty = data.frames | {"quadrants": data.frames["quadrants"].clear()}
    assert examples(dataclasses.replace(data, frames=empty), shown(data)) == {}
