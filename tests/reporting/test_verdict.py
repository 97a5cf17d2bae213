"""The paragraph and the warnings say what the numbers say."""

import dataclasses

import polars as pl
import pytest

from lesionlens.presets import demo
from lesionlens.reporting.verdict import BASELINES, Difference, answer
from lesionlens.reporting.warnings import warnings


def replaced(data, **frames):
    return dataclasses.replace(data, frames=data.frames | frames)


def headline_with(data, **columns):
    table = data.frames["table_4_localization"]
    return replaced(data, table_4_localization=table.with_columns(**{name: pl.lit(v) for name, v in columns.items()}))


def with_differences(data, **others):
    """Every difference from a baseline clearly above 0, but for `others`: baseline=(difference, low, high)."""
    frame = data.frames["baseline_differences"]
    columns = {}
    for n, name in enumerate(("difference", "low", "high")):
        value = pl.lit((0.3, 0.2, 0.4)[n])
        for baseline, numbers in others.items():
            value = pl.when(pl.col("baseline") == baseline).then(pl.lit(numbers[n], pl.Float64)).otherwise(value)
        columns[name] = value
    return replaced(data, baseline_differences=frame.with_columns(**columns))


@pytest.mark.parametrize(
    ("bounds", "expected"),
    [((0.1, 0.2), "above"), ((-0.1, 0.2), "same"), ((0.0, 0.0), "same"), ((-0.3, -0.1), "below"),
     ((None, None), "none")],
)  # fmt: skip
def test_verdict_by_the_interval_of_the_difference(bounds, expected):
    assert Difference(0.1, *bounds).verdict == expected


def test_best_by_accuracy_leads(make_data):
    best = answer(make_data(skill={1: 0.3, 2: 0.4, 3: 0.98, 4: 0.5})).sentences[0]
    assert "ResNet18, gradual unfreezing, has the highest test accuracy" in best


def test_yes_only_above_every_baseline_and_where_the_decision_needs_the_lesion(data):
    beaten = with_differences(data)
    assert answer(beaten).verdict.startswith("Yes: the best classifier's maps fit the lesions better than any")
    erased = data.frames["occlusion_test"]
    without = replaced(beaten, occlusion_test=erased.with_columns(difference_low=pl.lit(-0.1)))
    assert answer(without).verdict.endswith("but erasing the lesion does not show that its decision uses it.")
    assert answer(replaced(beaten, occlusion_test=erased.clear())).verdict.endswith("was not tested.")
    against = erased.with_columns(difference=pl.lit(-0.2), difference_low=pl.lit(-0.3), difference_high=pl.lit(-0.1))
    found = answer(replaced(beaten, occlusion_test=against))
    assert found.verdict.startswith("Its maps do") and "Yes" not in found.verdict
    assert "falls by 0.20 (0.10 to 0.30) less than" in " ".join(found.sentences)


def test_what_cannot_be_told_apart_is_no_no(data):
    disc = with_differences(data, centred_disc=(0.1, -0.1, 0.3), mean_mask=(-0.2, -0.3, -0.1))
    assert answer(disc).verdict == (
        "Partly: the best classifier's maps beat chance, but fit the lesions less well than the mean training mask and "
        "cannot be told apart from a centred disc."
    )
    random = with_differences(data, random_weights=(-0.2, -0.3, -0.1))
    assert answer(random).verdict.startswith("No: the best classifier's maps fit the lesions less well than random")
    assert "it lies below random weights" in " ".join(answer(random).sentences)
    wide = with_differences(data, **dict.fromkeys(BASELINES, (0.4, -0.1, 0.9)))
    assert answer(wide).verdict == (
        "It could not be shown that the best classifier looks at the lesion: its maps cannot be told apart from the "
        "whole patch or a centred disc or the mean training mask or random weights."
    )
    alone = with_differences(data, **dict.fromkeys(BASELINES, (0.4, None, None)))
    assert "stays open" in answer(alone).verdict
    assert "are of one patient, so no difference from a baseline has an interval" in " ".join(answer(alone).sentences)
    older = replaced(data, baseline_differences=data.frames["baseline_differences"].clear())
    assert "evaluate the study again" in " ".join(answer(older).sentences)


def test_an_untuned_threshold_is_not_a_missing_lesion(data):
    untuned = headline_with(data, ll=None, low=None, high=None, n=0, reason="no_validation_lesions")
    text = " ".join(answer(untuned).sentences)
    assert "the validation split has no lesion to tune the threshold on" in text
    assert "Over the 0 lesions" not in text and "no lesion sample" not in text


def test_models_are_compared_over_the_same_lesions(data):
    located = data.frames["localization_scores"]
    common = located.filter(pl.col("population") == "common_lesions")
    best = next(row["run_id"] for row in data.frames["table_2_accuracy"].sort("accuracy").reverse().to_dicts())
    rising = pl.when(pl.col("run_id") == best).then(pl.lit(0.9)).otherwise(pl.lit(0.1))
    text = " ".join(answer(replaced(data, localization_scores=common.with_columns(ll=rising))).sentences)
    assert "no other model's maps overlap more: its own mean IoU is 0.90" in text
    text = " ".join(answer(replaced(data, localization_scores=common.with_columns(ll=1 - rising))).sentences)
    assert "the highest mean IoU is that of" in text and "its own is 0.10" in text
    text = " ".join(answer(replaced(data, localization_scores=located.clear())).sentences)
    assert "every run of the study" not in text


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
    erased = data.frames["occlusion_test"].with_columns(difference_low=pl.lit(low))
    text = " ".join(answer(replaced(data, occlusion_test=erased)).sentences)
    assert f"falls by 0.29 ({low:.2f} to 0.37) more".replace("-", "−") in text and end in text


def test_no_erase_test_is_not_told(data):
    text = " ".join(answer(replaced(data, occlusion_test=data.frames["occlusion_test"].clear())).sentences)
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
    samples = data.frames["sample_results"].with_columns(blank=pl.col("iou").is_null())
    assert samples["blank"].sum() == 48  # background has no annotation to miss
    assert "Blank maps" not in {warning.title for warning in warnings(replaced(data, sample_results=samples))}
    samples = samples.with_columns(blank=pl.col("iou").is_not_null().cum_sum() < 4)
    found = {warning.title: warning.text for warning in warnings(replaced(data, sample_results=samples))}
    assert found["Blank maps"].startswith("3 of 192 activation maps of lesions (1.6 %) mark nothing.")


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
    shared = pl.when((pl.col("unit") == "patient") & (pl.col("split_b") == "test")).then(31).otherwise(0)
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
