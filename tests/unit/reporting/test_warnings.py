"""Warnings follow from the configuration and the numbers."""

import polars as pl
import pytest

from lesionlens.config.presets import demo
from lesionlens.reporting.warnings import LISTED, warnings


def by_title(data):
    return {warning.title: warning.text for warning in warnings(data)}


def test_few_samples_are_named_with_their_number(data, changed):
    found = by_title(data)
    assert "background 12, benign calcification 12" in found["Few test patches"]
    n = data.frames["table_4_localization"].filter(run_id=3, headline=True)["n"][0]
    assert f"ResNet18, gradual unfreezing: {n}" in found["Few lesions in the localisation score"]
    enough = changed(data, table_4_localization={"n": pl.lit(50)}, table_1_patches={"test": pl.lit(30)})
    assert not {"Few test patches", "Few lesions in the localisation score"} & set(by_title(enough))


def test_blank_maps_of_lesions_are_counted(data, changed):
    background = changed(data, sample_results={"blank": pl.col("iou").is_null()})
    assert "Blank maps" not in by_title(background)
    three = changed(data, sample_results={"blank": pl.col("iou").is_not_null().cum_sum() < 4})
    assert by_title(three)["Blank maps"].startswith("3 of 192 activation maps of lesions (1.6 %)")


@pytest.mark.parametrize(
    ("path", "value", "title", "grave"),
    [
        (("training", "normalise"), "per_class", "Label leakage through normalisation", True),
        (("training", "weights"), "none", "No pretrained weights", False),
        (("data", "source"), "phantom", "Synthetic mammograms", False),
        (("data", "source"), "coco", "Every image counts as a patient", False),
    ],
)
def test_options_that_need_a_warning(enough, path, value, title, grave):
    config = sound()
    config[path[0]][path[1]] = value
    assert [(w.title, w.grave) for w in warnings(enough(config))] == [(title, grave)]


def test_a_patient_with_two_images_is_no_reason_to_ask_for_patients(enough, changed):
    config = sound()
    config["data"]["source"] = "coco"
    assert warnings(changed(enough(config), sample_results={"patient": pl.lit("P_1")})) == ()


@pytest.fixture
def enough(make_data, changed):
    """Data with this configuration and so many samples that none is warned of."""

    def make(config):
        data = make_data(config=config, per_class=2)
        return changed(data, table_4_localization={"n": pl.lit(50)}, table_1_patches={"test": pl.lit(30)})

    return make


def sound():
    config = demo().model_dump(mode="json")
    config["training"]["weights"], config["data"]["source"] = "imagenet", "cbis_kaggle"
    return config


def test_sound_real_data_needs_no_warning(enough):
    assert warnings(enough(sound())) == ()


TWO = (("b", "benign", "mass", True), ("m", "malignant", "mass", True))
THREE = (*TWO, ("c", "cyst", "mass", True))


@pytest.mark.parametrize(
    ("labels", "option", "value", "said"),
    [
        (TWO, "explains", "contrast", True),
        (TWO, "methods", ["hires_cam", "saliency"], True),
        (TWO, "methods", ["saliency", "grad_cam"], False),
        (TWO, "explains", "logit", False),
        (THREE, "explains", "contrast", False),
        (((*TWO[0][:3], False), TWO[1]), "explains", "contrast", False),
    ],
)
def test_two_classes_of_lesions_share_one_map(make_data, changed, labels, option, value, said):
    """Not where there is a third class, one without lesions, another score that maps explain, or a map without sign."""
    config = sound()
    config["evaluation"][option] = value
    data = make_data(config=config, labels=labels, per_class=6, size=24)
    place, right = pl.int_range(pl.len()).over("run_id", "true_code"), {"b": 0.25, "m": 0.5, "c": 0.75}
    iou = pl.col("true_code").replace_strict(right, return_dtype=pl.Float64)
    wrong, unmarked = place == 0, place == 1  # neither counts
    scored = {"correct": ~wrong, "iou": pl.when(wrong).then(1.0).when(unmarked).then(None).otherwise(iou)}
    found = by_title(changed(data, sample_results=scored)).get("Two classes share one map", "")
    assert bool(found) == said and (not said or "benign 0.25 (4 lesions) and malignant 0.50 (4 lesions)" in found)


def test_a_planted_marker_is_named(make_data):
    config = demo().model_dump(mode="json")
    config["data"]["phantom"]["confounder"] = 0.9
    assert "probability 0.9" in by_title(make_data(config=config, per_class=2))["Synthetic mammograms"]


def test_shared_patients_are_grave_where_test_is_touched(data, changed):
    for split, grave in (("test", True), ("validation", False)):
        touched = (pl.col("entity") == "patient") & (pl.col("split_a") == "train") & (pl.col("split_b") == split)
        found = warnings(changed(data, split_check={"shared": pl.when(touched).then(31).otherwise(0)}))
        (shared,) = [warning for warning in found if "31 patients" in warning.text]
        assert shared.grave == grave and (found[0] is shared) == grave


def test_missing_runs_are_named_with_their_reason_but_not_a_whole_grid(data, changed):
    runs = data.frames["runs"]
    failed = runs.head(1).with_columns(
        run_id=pl.lit(9, pl.Int64), status=pl.lit("failed"), reason=pl.lit("loss is not finite")
    )
    failed = failed.with_columns(strategy=pl.lit("x_y"))
    text = by_title(changed(data, runs=pl.concat([runs, failed])))["1 run is missing"]
    assert "VGG11 with batch norm, x y (failed: loss is not finite)" in text
    many = pl.concat([failed] * (LISTED + 4)).with_columns(run_id=pl.int_range(100, 104 + LISTED))
    assert by_title(changed(data, runs=pl.concat([runs, many])))[f"{LISTED + 4} runs are missing"].endswith("; 4 more.")
