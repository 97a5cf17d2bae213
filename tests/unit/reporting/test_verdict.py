"""The answer follows from the numbers."""

import polars as pl
import pytest

from lesionlens.reporting.verdict import BASELINES, Score, answer, ranked, sign, standings

ABOVE, INCLUDES, BELOW, NONE = (0.2, 0.4), (-0.1, 0.3), (-0.3, -0.1), (None, None)


@pytest.fixture
def against(changed):
    """Data whose differences from baselines all lie above 0, but for the intervals given by baseline."""

    def make(data, **intervals):
        columns = {}
        for n, name in enumerate(("low", "high")):
            bounds = {baseline: intervals.get(baseline, ABOVE)[n] for baseline in BASELINES}
            columns[name] = pl.col("baseline").replace_strict(bounds, return_dtype=pl.Float64)
        return changed(data, baseline_differences=columns | {"difference": pl.lit(0.2)})

    return make


@pytest.mark.parametrize(
    ("bounds", "expected"),
    [(ABOVE, "above"), (INCLUDES, "n.s."), ((0.0, 0.0), "n.s."), (BELOW, "below"), (NONE, None)],
)
def test_sign_of_a_difference_is_that_of_its_whole_interval(bounds, expected):
    assert sign(*bounds) == Score(0.1, *bounds).sign == expected


def test_the_best_classifier_leads(make_data):
    data = make_data(skill={1: 0.3, 2: 0.4, 3: 0.98, 4: 0.5})
    assert ranked(data)[0].run_id == 3
    assert answer(data).sentences[0].startswith("ResNet18, gradual unfreezing")


@pytest.mark.parametrize(
    ("intervals", "kind", "named"),
    [
        ({}, "yes", ()),
        ({"centred_disc": INCLUDES, "mean_mask": BELOW}, "partly", ("a centred disc", "the mean training mask")),
        ({"random_weights": BELOW}, "no", ("random weights",)),
        ({"random_weights": INCLUDES}, "not shown", ("random weights",)),
        (dict.fromkeys(BASELINES, INCLUDES), "not shown", ("the whole patch", "a centred disc", "random weights")),
        (dict.fromkeys(BASELINES, NONE), "unknown", ()),
    ],
)
def test_verdict_by_the_differences_from_baselines(data, against, intervals, kind, named):
    found = answer(against(data, **intervals))
    assert found.kind == kind
    assert [words for words in named if words not in found.verdict] == []


@pytest.mark.parametrize(
    ("bounds", "kind"), [((0.2, 0.4), "yes"), ((-0.1, 0.4), "maps"), ((-0.3, -0.1), "maps"), ((None, None), "maps")]
)
def test_yes_only_where_the_decision_uses_the_lesion(data, against, changed, bounds, kind):
    columns = {
        f"difference_{end}": pl.lit(value, pl.Float64) for end, value in zip(("low", "high"), bounds, strict=True)
    }
    assert answer(changed(against(data), occlusion_test=columns)).kind == kind


def test_an_untested_decision_is_no_yes(data, against, changed):
    untested = changed(against(data), occlusion_test=data.frames["occlusion_test"].clear())
    assert answer(untested).kind == "maps" and "not tested" in answer(untested).verdict


def test_the_occlusion_test_is_reported_with_its_interval(data, changed):
    texts = []
    for value, low, high in ((0.29, 0.2, 0.37), (-0.2, -0.3, -0.1)):
        columns = {"difference": pl.lit(value), "difference_low": pl.lit(low), "difference_high": pl.lit(high)}
        texts.append(" ".join(answer(changed(data, occlusion_test=columns)).sentences))
    assert "by 0.29 (0.20 to 0.37) more" in texts[0] and "by 0.20 (0.10 to 0.30) less" in texts[1]


def test_scores_and_baselines_are_those_of_the_record(data):
    (best, *_) = ranked(data)
    row = data.frames["table_4_localization"].filter(run_id=best.run_id, headline=True).row(0, named=True)
    gaps = data.frames["baseline_differences"].filter(run_id=best.run_id, group_name="all")
    for placed in standings(data, best):
        gap = gaps.filter(baseline=placed.baseline).row(0, named=True)
        assert placed.score.value == row[placed.baseline]
        assert (placed.difference.value, placed.difference.low) == (gap["difference"], gap["low"])
    assert f"{row['ll']:.2f} ({row['low']:.2f} to {row['high']:.2f})" in " ".join(answer(data).sentences)


def test_an_untuned_threshold_is_not_a_missing_lesion(data, changed):
    nothing = dict.fromkeys(("ll", "low", "high"), pl.lit(None, pl.Float64))
    texts = set()
    for reason in ("no_validation_lesions", "no_samples"):
        found = answer(changed(data, table_4_localization=nothing | {"n": pl.lit(0), "reason": pl.lit(reason)}))
        assert found.kind == "unknown"
        texts.add(" ".join(found.sentences))
    assert len(texts) == 2 and all("0 lesions" not in text for text in texts)


def test_models_are_compared_over_the_same_lesions(data, changed):
    best = ranked(data)[0].run_id
    common = pl.col("population") == "common_lesions"
    for own, other, found in ((0.9, 0.1, "0.90"), (0.1, 0.9, "against 0.10")):
        ll = pl.when(common & (pl.col("run_id") == best)).then(own).when(common).then(other).otherwise("ll")
        columns = {"ll": ll, "low": pl.lit(None, pl.Float64), "high": pl.lit(None, pl.Float64)}
        assert found in answer(changed(data, localization_scores=columns)).sentences[-1]
    without = data.frames["localization_scores"].filter(~common)
    assert "every run" not in " ".join(answer(changed(data, localization_scores=without)).sentences)


@pytest.mark.parametrize(("runs", "p_holm", "words"), [((2, 1), 0.004, "is significant"), ((1, 2), 0.2, "not signif")])
def test_the_paired_difference_is_that_of_the_best_model(make_data, changed, runs, p_holm, words):
    """Whichever way round the record holds the pair; significant where interval and corrected p agree."""
    data = make_data(skill={1: 0.98, 2: 0.8, 3: 0.1, 4: 0.1})
    a, b = runs
    difference, low, high = (0.2, 0.1, 0.3) if a == 1 else (-0.2, -0.3, -0.1)
    pair = {"run_a": a, "run_b": b, "score": "accuracy", "difference": difference, "low": low, "high": high,
            "p_holm": p_holm, "n": 60}  # fmt: skip
    sentence = answer(changed(data, comparison=pl.DataFrame([pair]))).sentences[1]
    assert "+0.20, 0.10 to 0.30" in sentence and words in sentence


def test_without_a_run_or_a_score_there_is_no_answer(make_data):
    assert answer(make_data(runs=())).kind == "unknown"
    assert answer(make_data(runs=(("resnet18", "gradual"),), skill={1: 0.0})).kind == "unknown"
