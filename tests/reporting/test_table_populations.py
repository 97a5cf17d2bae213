"""Scores over other sets of lesions, and over the same for all."""

import dataclasses

from lesionlens.reporting.tables.populations import populations


def test_every_model_is_scored_over_the_same_common_lesions(make_data):
    data = make_data(skill=dict.fromkeys(range(1, 5), 0.9))
    rows = populations(data).rows
    assert len(rows) == 4 and len({row.cells[6].text for row in rows}) == 1
    for row in rows:
        own, every, common = (int(row.cells[n].text) for n in (2, 4, 6))
        assert 0 < common < own < every == 48


def test_without_scores_there_is_no_row(data):
    empty = data.frames | {"localization_scores": data.frames["localization_scores"].clear()}
    assert populations(dataclasses.replace(data, frames=empty)).rows == ()
