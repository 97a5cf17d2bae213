"""The paragraph and the warnings say what the numbers say."""

import dataclasses

import polars as pl
import pytest

from lesionlens.presets import demo
from lesionlens.reporting.answer import answer
from lesionlens.reporting.localization import Score, verdict
from lesionlens.reporting.warnings import warnings


def replaced(data, **frames):
    return dataclasses.replace(data, frames=data.frames | frames)


def headline_with(data, **columns):
    table = data.frames["table_4_localization"]
    return replaced(data, table_4_localization=table.with_columns(**{name: pl.lit(v) for name, v in columns.items()}))


@pytest.mark.parametrize(
    ("baseline", "expected"),
    [((0.1, 0.05, 0.15), "above"), ((0.2, 0.1, 0.35), "over"), ((0.4, 0.3, 0.5), "same"), ((0.6, 0.5, 0.7), "below")],
)
def test_verdict_by_intervals(baseline, expected):
    assert verdict(Score(0.4, 0.3, 0.5, 50), Score(*baseline, 50)) == expected


def test_verdict_needs_values():
    assert verdict(Score(None, None, None, 0), Score(0.1, 0.0, 0.2, 0)) == "none"


def test_best_by_accuracy_leads(make_data):
    best = answer(make_data(skill={1: 0.3, 2: 0.4, 3: 0.98, 4: 0.5})).sentences[0]
    assert "ResNet18, gradual unfreezing, classifies best" in best


def test_yes_only_above_every_baseline(data):
    beaten = headline_with(data, ll=0.5, low=0.45, high=0.55)
    assert answer(beaten).verdict.startswith("Yes")
    disc = headline_with(beaten, centred_disc=0.5, centred_disc_low=0.4, centred_disc_high=0.6)
    assert answer(disc).verdict == "Partly: the best classifier's maps beat chance, but not a centred disc."
    random = headline_with(beaten, random_weights=0.7, random_weights_low=0.6, random_weights_high=0.8)
    assert answer(random).verdict.startswith("No")
    assert "it lies below random weights (0.70)" in " ".join(answer(random).sentences)
    nothing = headline_with(beaten, ll=0.01, low=0.0, high=0.02)
    assert answer(nothing).verdict.startswith(
        "No: the best classifier's maps fit the lesions no better than any baseline"
    )


def test_paired_comparison_is_told_from_the_best_model(make_data):
    data = make_data(skill={1: 0.98, 2: 0.8, 3: 0.1, 4: 0.1})
    pair = pl.DataFrame(
        [{"evaluation_a": 52, "evaluation_b": 51, "score": "accuracy", "value_a": 0.7, "value_b": 0.9,
          "difference": -0.2, "low": -0.3, "high": -0.1, "p": 0.001, "p_holm": 0.004, "n": 60}]
    )  # fmt: skip
    text = answer(replaced(data, comparison=pair)).sentences[1]
    assert "a clear difference" in text
    assert "+0.20, 0.10 to 0.30, p = 0.004" in text


def test_no_evaluated_run_is_no_answer(make_data):
    found = answer(make_data(runs=()))
    assert found.verdict == "There is no answer yet."


def test_no_correct_lesion_is_said(make_data):
    data = make_data(runs=(("resnet18", "gradual"),), skill={1: 0.0})
    found = answer(data)
    assert found.verdict == "It cannot be said whether the model looks at the lesion."
    assert "no lesion sample was classified correctly" in " ".join(found.sentences)


@pytest.mark.parametrize(
    ("low", "end"), [(0.2, ": the decision uses the lesion."), (-0.1, ": that does not show that the decision uses")]
)
def test_erase_test_is_told_with_its_interval(data, low, end):
    erased = data.frames["erase_test"].with_columns(difference_low=pl.lit(low))
    text = " ".join(answer(replaced(data, erase_test=erased)).sentences)
    assert f"falls by 0.29 ({low:.2f} to 0.37) more".replace("-", "−") in text and end in text


def test_no_erase_test_is_not_told(data):
    text = " ".join(answer(replaced(data, erase_test=data.frames["erase_test"].clear())).sentences)
    assert "erased" not in text


def test_few_samples_are_warned_of_with_their_number(data):
    found = {warning.title: warning.text for warning in warnings(data)}
    assert "background 12, benign calcification 12" in found["Few test patches"]
    assert "ResNet18, gradual unfreezing: 35" in found["Few lesions behind the localisation score"]
    enough = data.frames["table_1_patches"].with_columns(test=pl.lit(30))
    many = headline_with(data, n=50)
    titles = {warning.title for warning in warnings(replaced(many, table_1_patches=enough))}
    assert not {"Few test patches", "Few lesions behind the localisation score"} & titles


def test_blank_maps_are_counted(data):
    assert "Blank maps" not in {warning.title for warning in warnings(data)}
    samples = data.frames["sample_results"].with_columns(blank=pl.int_range(pl.len()) < 3)
    found = {warning.title: warning.text for warning in warnings(replaced(data, sample_results=samples))}
    assert found["Blank maps"].startswith("3 of 240 activation maps (1.2 %)")


def test_a_planted_marker_is_told(make_data):
    config = demo().model_dump(mode="json")
    config["data"]["phantom"]["confounder"] = 0.9
    texts = [warning.text for warning in warnings(make_data(config=config, per_class=2))]
    assert any("planted with probability 0.9" in text for text in texts)


def test_configuration_warnings(make_data):
    config = demo().model_dump(mode="json")
    config["training"]["normalise"] = "per_class"
    found = warnings(make_data(config=config))
    assert found[0].grave and found[0].title == "The labels leak through normalisation"
    assert {"No pretrained weights", "Synthetic mammograms"} <= {warning.title for warning in found}


def test_sound_real_data_warns_of_little(make_data):
    config = demo().model_dump(mode="json")
    config["training"]["weights"] = "imagenet"
    config["data"]["source"] = "cbis_kaggle"
    assert [
        warning.title
        for warning in warnings(make_data(config=config, per_class=40, skill=dict.fromkeys(range(1, 5), 0.9)))
    ] == []


def test_shared_patients_are_grave_where_test_is_touched(data):
    check = data.frames["split_check"]
    shared = pl.when((pl.col("unit") == "patient") & (pl.col("part_b") == "test")).then(31).otherwise(0)
    found = [w for w in warnings(replaced(data, split_check=check.with_columns(shared=shared))) if "shared" in w.title]
    assert found[0].grave
    assert "31 patients in both training and test" in found[0].text


def test_failed_runs_are_named(data):
    runs = data.frames["runs"]
    failed = runs.head(1).with_columns(
        run_id=pl.lit(9, pl.Int64), status=pl.lit("failed"), reason=pl.lit("loss is not finite"), strategy=pl.lit("x_y")
    )
    found = [
        w
        for w in warnings(replaced(data, runs=pl.concat([runs, failed], how="vertical_relaxed")))
        if "missing" in w.title
    ]
    assert found[0].text == "Not in this report: VGG11 with batch norm, x y (failed: loss is not finite)."
