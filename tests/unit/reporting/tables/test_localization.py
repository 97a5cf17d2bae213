"""Tables of the localisation score: baselines, groups, populations, variants."""

import polars as pl
import pytest

from lesionlens.records import BASELINES
from lesionlens.reporting.tables import localization


def test_every_baseline_stands_beside_the_paired_difference(data):
    table = localization.baselines(data)
    gaps = data.frames["baseline_differences"].filter(group_name="all")
    scores = data.frames["table_4_localization"].filter("headline")
    assert table.frame["ll"].to_list() == scores["ll"].to_list()
    for name in BASELINES:
        gap = gaps.filter(baseline=name)
        assert table.frame[name].to_list() == scores[name].to_list()
        assert table.frame[f"{name}_difference"].to_list() == gap["difference"].to_list()
        assert table.frame[f"{name}_difference_low"].to_list() == gap["low"].to_list()


@pytest.mark.parametrize(
    ("low", "high", "mark", "word"),
    [
        (0.1, 0.3, "good", "above"),
        (-0.1, 0.3, "open", "n.s."),
        (-0.3, -0.1, "bad", "below"),
        (None, None, "", "no int"),
    ],
)
def test_a_difference_is_marked_by_where_its_interval_lies(data, changed, low, high, mark, word):
    columns = {"low": pl.lit(low, pl.Float64), "high": pl.lit(high, pl.Float64)}
    table = localization.baselines(changed(data, baseline_differences=columns))
    cells = {cell for row in table.rows for cell in row.cells[4:]}
    assert {cell.mark for cell in cells} == {mark} and all(cell.lines[-1].startswith(word) for cell in cells)


def test_groups_stand_apart_with_their_own_baselines(data, changed):
    table = localization.groups(data)
    assert table.frame["group_name"].to_list() == ["calcification", "mass"] * 4
    of_mass = data.frames["localization_scores"].filter(population="correct_lesions", group_name="mass", run_id=2)
    row = table.frame.filter(run_id=2, group_name="mass")
    assert row.select("ll", "n", "centred_disc").equals(of_mass.select("ll", "n", "centred_disc"))
    gap = data.frames["baseline_differences"].filter(run_id=2, group_name="mass", baseline="centred_disc")
    assert row["centred_disc_difference"].to_list() == gap["difference"].to_list()
    unscored = pl.when(pl.col("group_name") != "mass").then("ll")
    left = localization.groups(changed(data, localization_scores={"ll": unscored}))
    assert set(left.frame["group_name"]) == {"calcification"}


def test_every_model_is_scored_over_the_same_common_lesions(make_data):
    table = localization.populations(make_data(skill=dict.fromkeys(range(1, 5), 0.9)))
    assert len(table) == 4 and table.frame["ll_common_lesions_n"].n_unique() == 1
    for common, own, every in table.frame.select(
        *(f"ll_{name}_n" for name in ("common_lesions", "correct_lesions", "lesions"))
    ).rows():
        assert 0 < common < own < every == 48


def test_variants_name_the_headline_score(data):
    table = localization.variants(data)
    assert len(table) == 16
    headline = [row for row in table.rows if row.cells[3].lines]
    assert len(headline) == 4 and all(row.cells[4].mark == "strong" for row in headline)


def test_scores_without_a_threshold_stand_beside_those_of_baselines(data):
    table = localization.other_scores(data)
    assert table.frame["method"].to_list() == ["grad_cam", "random_weights", "centred_disc"] * 4
    assert table.frame["hit_rate"].to_list() == [0.6, 0.2, 0.3] * 4
    assert [row.mark for row in table.rows][:3] == ["", "published", "published"]


def test_without_scores_there_is_no_row(data, changed):
    names = ("localization_scores", "table_4_localization", "threshold_free_scores", "baseline_differences")
    empty = changed(data, **{name: data.frames[name].clear() for name in names})
    for build in (localization.baselines, localization.groups, localization.populations, localization.other_scores):
        assert not len(build(empty))


def test_every_method_stands_with_what_its_maps_say(data, changed):
    decisions = data.frames["decisions"]
    other = decisions.filter(variant="grad_cam").with_columns(variant=pl.lit("eigen_cam"))
    worse = other.with_columns(value=pl.lit(-0.3), low=pl.lit(-0.4), high=pl.lit(-0.2))
    table = localization.methods(changed(data, decisions=pl.concat([decisions, worse])))
    said = dict(table.frame.select("method", "said").rows())
    assert list(said) == ["grad_cam", "eigen_cam"] and said["eigen_cam"] == "no" != said["grad_cam"]
    fit = [verdict for verdict in said.values() if verdict == "yes"]
    assert f"{len(fit)} of 2" in " ".join(table.notes)
    # a method that was compared with fewer baselines fits nothing, whatever it scores
    better = other.with_columns(value=pl.lit(0.3), low=pl.lit(0.2), high=pl.lit(0.4))
    for rows, verdict in ((better, "yes"), (better.filter(pl.col("measure") != "over_random_weights"), "not shown")):
        found = localization.methods(changed(data, decisions=pl.concat([decisions, rows]))).frame
        assert dict(found.select("method", "said").rows())["eigen_cam"] == verdict
    kept = decisions.filter(pl.col("group_name").is_null(), measure="ll", variant="grad_cam")
    assert table.frame["value"][0] == kept["value"][0]
    assert len(localization.methods(changed(data, decisions=decisions.clear()))) == 0
