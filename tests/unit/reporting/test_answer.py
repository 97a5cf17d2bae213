"""The answer in words: the stored rows, the numbers beside them, three maps chosen by rule."""

import polars as pl
import pytest

from lesionlens.reporting.answer import found_answers, lead_maps, ranked, sentences, tiles, verdict
from lesionlens.reporting.verdict import chosen
from tests.report_data import RUNS, with_answers


def test_every_stored_row_is_shown_all_lesions_first(data):
    shown = found_answers(data)
    stored = data.frames["answers"]
    assert sum(len(rows) for _, rows in shown) == stored.height
    for _, rows in shown:
        assert rows[0]["group_name"] is None and len({row["question"] for row in rows}) == 1


def test_the_verdict_names_every_question_and_what_is_not_to_be_trusted(data, changed):
    stored = data.frames["answers"].filter(pl.col("group_name").is_null())
    for row in stored.iter_rows(named=True):
        assert f"{row['question'].capitalize()}: {row['verdict']}" in verdict(data)
    leak = with_answers(changed(data, split_check={"shared": pl.lit(3)}))
    assert verdict(leak).count("not to be trusted") == stored.height


def test_without_a_run_or_an_evaluation_there_is_no_answer(make_data):
    empty = make_data(runs=())
    assert (found_answers(empty), sentences(empty), tiles(empty), lead_maps(empty)) == ((), (), [], [])
    assert verdict(empty)


def test_numbers_are_those_of_the_record(data):
    best = chosen(data).run_id
    row = data.frames["table_4_localization"].filter(run_id=best, headline=True).row(0, named=True)
    accuracy = data.frames["table_2_accuracy"].filter(run_id=best).row(0, named=True)
    assert f"{row['ll']:.2f} ({row['low']:.2f} to {row['high']:.2f})" in " ".join(sentences(data))
    first, second, third = tiles(data)
    assert (first["value"], second["value"]) == (f"{accuracy['accuracy']:.2f}", f"{row['ll']:.2f}")
    assert first["beside"] == "largest class 0.20; test split evaluated 7 times in this record"
    assert second["beside"].endswith("at most 0.70 on its grid")
    assert second["interval"] == f"{row['low']:.2f} to {row['high']:.2f}"
    assert (third["value"], third["interval"]) == ("0.31", "0.22 to 0.40") and "0.02" in third["beside"]


def test_a_missing_score_is_a_dash_in_its_tile(data, changed):
    without = changed(data, occlusion_test=data.frames["occlusion_test"].clear())
    assert tiles(without)[2]["value"] == "–"


def test_how_often_a_test_split_was_evaluated_is_said_where_it_is_known(data, changed):
    once = changed(data, test_uses={"runs": pl.lit(1)})
    assert tiles(once)[0]["beside"].endswith("; test split evaluated 1 time in this record")
    for known in ({"runs": pl.lit(0)}, data.frames["test_uses"].clear()):
        assert tiles(changed(data, test_uses=known))[0]["beside"] == "largest class 0.20"


def test_the_maps_are_the_median_the_best_and_the_worst(data):
    found = data.frames["sample_results"].filter(pl.col("iou").is_not_null(), run_id=chosen(data).run_id)
    ious = dict(found.select("sample_key", "iou").rows())
    median, best, worst = (ious[entry["key"]] for entry in lead_maps(data))
    assert (best, worst) == (max(ious.values()), min(ious.values()))
    assert sorted(ious.values())[(len(ious) - 1) // 2] == median


def test_an_untuned_threshold_is_not_a_missing_lesion(data, changed):
    nothing = dict.fromkeys(("ll", "low", "high"), pl.lit(None, pl.Float64))
    texts = set()
    for reason in ("no_validation_lesions", "no_samples"):
        changes = nothing | {"n": pl.lit(0), "reason": pl.lit(reason)}
        texts.add(" ".join(sentences(changed(data, table_4_localization=changes))))
    assert len(texts) == 2 and all("0 lesions" not in text for text in texts)


def test_models_are_compared_over_the_same_lesions(data, changed):
    best = chosen(data).run_id
    common = pl.col("population") == "common_lesions"
    for own, other, found in ((0.9, 0.1, "0.90"), (0.1, 0.9, "against 0.10")):
        ll = pl.when(common & (pl.col("run_id") == best)).then(own).when(common).then(other).otherwise("ll")
        columns = {"ll": ll, "low": pl.lit(None, pl.Float64), "high": pl.lit(None, pl.Float64)}
        assert found in sentences(changed(data, localization_scores=columns))[-1]
    without = data.frames["localization_scores"].filter(~common)
    assert "every run" not in " ".join(sentences(changed(data, localization_scores=without)))


@pytest.mark.parametrize(("runs", "p_holm", "words"), [((2, 1), 0.004, "is significant"), ((1, 2), 0.2, "not signif")])
def test_the_paired_difference_is_that_of_the_chosen_model(make_data, changed, runs, p_holm, words):
    """Whichever way round the record holds the pair; significant where interval and corrected p agree."""
    data = make_data(skill={1: 0.98, 2: 0.8, 3: 0.1, 4: 0.1})
    a, b = runs
    difference, low, high = (0.2, 0.1, 0.3) if a == 1 else (-0.2, -0.3, -0.1)
    pair = {"run_a": a, "run_b": b, "score": "accuracy", "difference": difference, "low": low, "high": high,
            "p_holm": p_holm, "n": 60, "seeds": 1, "lowest": None, "highest": None}  # fmt: skip
    sentence = sentences(changed(data, comparison=pl.DataFrame([pair])))[1]
    assert "+0.20, 0.10 to 0.30" in sentence and words in sentence


@pytest.mark.parametrize(("ends", "words"), [((0.1, 0.3), "is significant"), ((-0.2, 0.3), "is not significant")])
@pytest.mark.parametrize("turned", [False, True])
def test_a_difference_that_other_seeds_turn_round_is_not_significant(make_data, changed, ends, words, turned):
    data = make_data(skill={1: 0.98, 2: 0.8, 3: 0.1, 4: 0.1})
    bounds = {"low": 0.1, "high": 0.3, "lowest": ends[0], "highest": ends[1]}
    if turned:
        bounds = {"low": -0.3, "high": -0.1, "lowest": -ends[1], "highest": -ends[0]}
    pair = {"run_a": 2 if turned else 1, "run_b": 1 if turned else 2, "score": "accuracy",
            "difference": -0.2 if turned else 0.2, "p_holm": 0.004, "n": 60, "seeds": 3} | bounds  # fmt: skip
    sentence = sentences(changed(data, comparison=pl.DataFrame([pair])))[1]
    assert words in sentence and f"over 3 seeds {ends[0]:.2f}".replace("-", "\u2212") in sentence


def test_models_are_ranked_by_accuracy(make_data):
    data = make_data(skill={1: 0.3, 2: 0.4, 3: 0.98, 4: 0.5}, runs=RUNS)
    assert ranked(data)[0].run_id == 3
