"""No answer is yes where a gate stands in its way, and an honest record is yes to both questions."""

import dataclasses

import polars as pl
import pytest

from lesionlens.config.presets import demo
from lesionlens.records import BASELINES
from lesionlens.reporting.data import Score, sign
from lesionlens.reporting.findings import NULLS
from lesionlens.reporting.formatting import NAMES
from lesionlens.reporting.verdict import ANSWERS, answers, asked, chosen
from tests.report_data import LABELS, RUNS, build

GROUPS = ("calcification", "mass")


@pytest.fixture(scope="module")
def honest():
    """One run that is right about everything: 60 test lesions of as many patients, 30 of each group."""
    data = build(runs=RUNS[:1], per_class=30, skill={1: 0.95}, size=24)
    return measured(data, {f"over_{name}": 0.2 for name in BASELINES}, half=0.1)


def measured(data, values, half=0.05, group="", variant="", **columns):
    """The data with other measures of the decision, by name; of one group, or variant, alone where it is named."""
    found = data.frames["decisions"]
    for name, value in values.items():
        where = pl.col("measure") == name
        for key, only in (("group_name", group), ("variant", variant)):
            where = where & (pl.col(key) == only) if only else where
        ends = {"value": value, "low": value - half, "high": value + half} | columns
        made = [pl.when(where).then(pl.lit(end)).otherwise(key).alias(key) for key, end in ends.items()]
        found = found.with_columns(made)
    return dataclasses.replace(data, frames=data.frames | {"decisions": found})


def answer(data, question="detection", group=None):
    found = answers(data).filter(pl.col("group_name").eq_missing(group), question=question)
    return found.row(0, named=True)


def test_an_honest_record_is_yes_to_both_questions_for_every_group(honest):
    found = answers(honest)
    assert found.schema == pl.Schema(ANSWERS)
    assert found.select("question", "group_name", "verdict").rows() == [
        (question, group, "yes") for question in ("detection", "diagnosis") for group in (None, *GROUPS)
    ]
    assert found["reasons"].list.len().to_list() == [0] * 6
    assert answer(honest)["number"] == 0.2 and answer(honest)["low"] == 0.1
    lesions = honest.frames["sample_results"].filter(pl.col("iou").is_not_null(), correct=True)
    assert answer(honest)["n"] == answer(honest)["n_patients"] == lesions.height


def touched(split):
    return pl.when(entity="patient", split_a="train", split_b=split).then(3).otherwise(0)


BOTH = ("detection", "diagnosis")
NO_AUDIT = pl.DataFrame(schema=dict.fromkeys(("features", "question"), pl.String) | {"high": pl.Float64})
# by reason: the verdict, the questions it is about, and how the record is made
CONSTRUCTED = {
    "chance": ("not shown", BOTH, lambda data, _: measured(data, {"accuracy_over_majority": 0.04})),
    "shortcut": ("partly", BOTH, lambda data, changed: changed(
        data, shortcut_audit={"auc": pl.lit(0.94), "low": pl.lit(0.9), "high": pl.lit(0.98)})),
    "no_audit": ("partly", BOTH, lambda data, changed: changed(data, shortcut_audit=NO_AUDIT)),
    "hardly_used": ("partly", BOTH[:1], lambda data, _: measured(data, {"fall": 0.002}, 0.001)),
    "not_used": ("partly", BOTH[:1], lambda data, _: measured(data, {"fall": 0.002}, 0.01)),
    "few": ("not shown", BOTH[:1], lambda data, _: measured(data, {"fall": 0.3}, lesions=2)),
    "leak": ("not shown", BOTH, lambda data, changed: changed(data, split_check={"shared": touched("test")})),
    "no_hits": ("not shown", BOTH[:1], lambda data, changed: changed(
        data, hit_rates={"value": pl.lit(0.0), "low": pl.lit(0.0), "high": pl.lit(0.05)})),
    "coarse": ("not shown", BOTH[:1], lambda data, changed: changed(
        data, table_4_localization={"map_rows": pl.lit(1), "map_cols": pl.lit(1)})),
    "ceiling": ("not shown", BOTH[:1], lambda data, _: measured(data, {"ceiling_over_centred_disc": 0.01})),
    "other_filling": ("partly", BOTH, lambda data, _: measured(
        measured(data, {"auc_lesion": 0.8}, variant="texture"), {"fall_lesion": 0.01}, variant="texture")),
}  # fmt: skip


def referenced(data, over):
    """The data with the AUC of a reference, and the network's minus it, which lies so far above 0."""
    row = data.frames["decisions"].filter(measure="auc_intact", variant="smooth").filter(pl.col("group_name").is_null())
    made = [
        row.with_columns(variant=pl.lit("reference"), measure=pl.lit(f"auc_{name}"), **{
            end: pl.lit(value + shift) for end, shift in (("value", 0.0), ("low", -0.05), ("high", 0.05))})
        for name, value in (("reference", 0.7), ("over_reference", over))
    ]  # fmt: skip
    return dataclasses.replace(data, frames=data.frames | {"decisions": pl.concat([data.frames["decisions"], *made])})


def test_a_reference_that_is_not_beaten_is_named_and_takes_nothing_away(honest):
    for over, words in ((0.2, None), (0.02, "does as well as the network"), (-0.2, "does better than the network")):
        for question in BOTH:
            row = answer(referenced(honest, over), question)
            assert row["verdict"] == "yes" and ("reference" in row["reasons"]) == (words is not None)
            assert ("(AUC 0.70" in row["sentence"]) == (words is not None) and (words or "") in row["sentence"]


@pytest.mark.parametrize("reason", CONSTRUCTED)
def test_a_gate_turns_a_yes_into_less_and_is_named(honest, changed, reason):
    verdict, questions, make = CONSTRUCTED[reason]
    data = make(honest, changed)
    for question in BOTH:
        row = answer(data, question)
        expected = (verdict, True) if question in questions else ("yes", False)
        assert (row["verdict"], reason in row["reasons"]) == expected


def test_a_label_in_the_normalisation_is_not_to_be_trusted(honest, changed):
    config = demo().model_dump(mode="json")
    config["training"]["normalise"] = "per_class"
    leaking = changed(honest)
    leaking.study["config"], before = config, leaking.study["config"]
    row = answer(leaking)
    leaking.study["config"] = before
    assert (row["verdict"], row["reasons"]) == ("not shown", ["label_leak"])
    assert row["sentence"].startswith("Not to be trusted")


def test_a_patient_in_training_and_test_comes_first_in_the_sentence(honest, changed):
    for split, trusted in (("test", False), ("validation", True)):
        row = answer(changed(honest, split_check={"shared": touched(split)}))
        assert row["sentence"].startswith("Not to be trusted") != trusted
        assert (row["verdict"] == "yes") == trusted


@pytest.mark.parametrize("missing", BASELINES)
def test_without_a_baseline_there_is_no_yes(honest, changed, missing):
    decisions = honest.frames["decisions"].filter(pl.col("measure") != f"over_{missing}")
    row = answer(changed(honest, decisions=decisions))
    assert (row["verdict"], row["reasons"]) == ("not shown", ["no_baseline"])


def test_baselines_that_are_not_reached_are_all_named_and_stay_reasons_of_their_own(honest):
    row = answer(measured(honest, {f"over_{name}": 0.05 for name in BASELINES}, 0.1))
    assert set(row["reasons"]) == {f"not_above_{name}" for name in BASELINES}
    assert all(row["sentence"].partition(";")[0].count(NAMES[name]) == 1 for name in BASELINES)


@pytest.mark.parametrize("baseline", BASELINES)
@pytest.mark.parametrize(("value", "kind"), [(0.05, "not_above"), (-0.2, "below")])
def test_every_baseline_is_beaten_or_named(honest, baseline, value, kind):
    row = answer(measured(honest, {f"over_{baseline}": value}, 0.1))
    worst = "no" if kind == "below" else "not shown"
    assert (row["verdict"], row["reasons"]) == (worst if baseline in NULLS else "partly", [f"{kind}_{baseline}"])
    assert row["measure"] == f"over_{baseline}" and (row["low"], row["high"]) == (value - 0.1, value + 0.1)


def test_masses_below_every_baseline_are_no_yes_for_all(honest):
    data = measured(honest, {f"over_{name}": -0.2 for name in BASELINES}, group="mass")
    assert [answer(data, group=group)["verdict"] for group in (None, *GROUPS)] == ["partly", "yes", "no"]
    assert answer(data)["sentence"].startswith("Yes for calcification; no for mass")


@pytest.mark.parametrize("few", [{"patients": 9}, {"lesions": 19}])
@pytest.mark.parametrize("value", [0.2, -0.2])
def test_few_patients_or_lesions_show_nothing_neither_yes_nor_no(honest, few, value):
    data = measured(honest, dict.fromkeys(["ll", *(f"over_{name}" for name in BASELINES)], value), **few)
    assert (answer(data)["verdict"], answer(data)["reasons"][0]) == ("not shown", "few")


def test_a_grid_without_room_above_the_baselines_gives_no_no(honest):
    data = measured(measured(honest, {"over_whole_patch": -0.2}), {"ceiling_over_whole_patch": -0.1})
    assert answer(data)["verdict"] == "not shown"


# what the lesion filled in and the swap say, and whether lesion and surroundings then decide
DECISIONS = [
    ({}, "yes"),
    ({"auc_lesion": 0.9}, "partly"),
    ({"swap_surroundings_auc": 0.7}, "partly"),
    ({"auc_lesion": 0.88, "auc_fall": 0.02}, "no"),
    ({"swap_lesion_auc": 0.5, "swap_surroundings_auc": 0.9, "swap_difference": -0.4}, "no"),
    ({"swap_lesion_auc": 0.5, "swap_surroundings_auc": 0.6, "swap_difference": 0.0}, "not shown"),
    ({"swap_lesion_auc": 0.5, "auc_lesion": 0.88}, "not shown"),
    ({"auc_fall": 0.02}, "not shown"),
    ({"swap_lesion_auc": 0.5}, "not shown"),
    ({"auc_intact": 0.5, "auc_fall": 0.0}, "not shown"),
]


@pytest.mark.parametrize(("values", "verdict"), DECISIONS)
def test_the_diagnosis_needs_both_tests(honest, values, verdict):
    row = answer(measured(honest, values), "diagnosis")
    assert row["verdict"] == verdict
    assert bool(row["reasons"]) == (verdict != "yes")


@pytest.mark.parametrize(
    "missing", ["auc_intact", "auc_fall", "auc_lesion", "swap_lesion_auc", "swap_surroundings_auc"]
)
def test_an_untested_diagnosis_is_not_shown(honest, changed, missing):
    decisions = honest.frames["decisions"].filter(pl.col("measure") != missing)
    row = answer(changed(honest, decisions=decisions), "diagnosis")
    assert row["verdict"] == "not shown" and row["reasons"]


def test_the_questions_follow_from_the_classes(make_data):
    for labels, questions in (
        (LABELS, ["detection", "diagnosis"]),
        (LABELS[1:], ["diagnosis"]),
        ((LABELS[0], LABELS[2]), ["detection"]),
        ((LABELS[2],), []),
    ):
        assert asked(make_data(labels=labels, runs=RUNS[:1], per_class=1, size=24)) == questions


def test_the_answer_is_about_the_selected_cell_whatever_the_test_says(data, changed):
    for best in (1, 4):
        backbone, strategy = RUNS[best - 1]
        cell = {"backbone": pl.lit(backbone), "strategy": pl.lit(strategy)}
        accuracy = {"accuracy": pl.when(pl.col("run_id") == best).then(0.1).otherwise(0.9)}
        found = changed(data, decisions=cell, table_2_accuracy=accuracy)
        assert chosen(found).run_id == best and set(answers(found)["run_id"]) == {best}


def test_without_a_run_there_is_no_row(make_data):
    assert answers(make_data(runs=())).is_empty()


@pytest.mark.parametrize(
    ("bounds", "expected"),
    [((0.2, 0.4), "above"), ((-0.1, 0.3), "n.s."), ((0.0, 0.0), "n.s."), ((-0.3, -0.1), "below"), ((None, None), None)],
)
def test_sign_of_a_difference_is_that_of_its_whole_interval(bounds, expected):
    assert sign(*bounds) == Score(0.1, *bounds).sign == expected


def test_a_group_of_one_class_is_not_judged_apart(make_data):
    labels = (("ok", "ok", "ok", False), ("a", "a", "a", True), ("b", "b", "b", True))
    found = answers(make_data(labels=labels, runs=RUNS[:1], per_class=4, size=24))
    assert found["question"].to_list() == ["detection", "diagnosis"] and found["group_name"].null_count() == 2


def guided(data, methods=("grad_cam", "saliency"), **fits):
    """The same record of a guided model, with a method that was not guided, whose maps fit by `fits`."""
    frames = dict(data.frames)
    for name in ("decisions", "runs", "table_2_accuracy"):
        frames[name] = frames[name].with_columns(guidance=pl.lit("weight 3"))
    own = frames["decisions"].filter(question="localization").with_columns(variant=pl.lit("saliency"))
    other = measured(dataclasses.replace(data, frames={"decisions": own}), fits, half=0.01).frames["decisions"]
    frames["decisions"] = pl.concat([frames["decisions"], other])
    hits = frames["threshold_free_scores"].filter(method="grad_cam").with_columns(method=pl.lit("saliency"))
    frames["threshold_free_scores"] = pl.concat([frames["threshold_free_scores"], hits])
    config = demo().model_dump(mode="json")
    config["evaluation"]["methods"] = list(methods)
    return dataclasses.replace(data, frames=frames, study=data.study | {"config": config})


def test_a_guided_model_is_judged_by_what_was_not_guided(honest):
    found = answer(guided(honest))
    assert (found["verdict"], found["reasons"]) == ("yes", ["guided"]) and "saliency" in found["sentence"]
    assert "proves nothing" in found["sentence"]
    mine = guided(honest).frames["decisions"]
    undealt = dataclasses.replace(
        guided(honest),
        frames=guided(honest).frames
        | {"decisions": mine.filter(~((pl.col("variant") == "saliency") & (pl.col("measure") == "over_dealt_maps")))},
    )
    assert answer(undealt)["reasons"] == ["guided", "no_baseline"]
    blind = answer(guided(honest, over_random_weights=-0.1))  # its own Grad-CAM still fits above every baseline
    assert blind["verdict"] == "no" and {"guided", "below_random_weights"} <= set(blind["reasons"])


def test_a_guided_model_without_another_method_gets_no_yes_for_its_maps(honest):
    found = answer(guided(honest, methods=("grad_cam", "hires_cam")))
    assert found["verdict"] == "not shown" and found["reasons"][0] == "guided_maps"
    assert answer(guided(honest, methods=("grad_cam",)), "diagnosis")["verdict"] == "partly"


@pytest.mark.parametrize(
    ("moved", "question", "verdict", "reason"),
    [
        ({"fall": 0.002}, "detection", "partly", "hardly_used"),
        ({"swap_lesion_auc": 0.5}, "diagnosis", "not shown", "swap_not_lesion"),
        ({"swap_lesion_auc": 0.5, "swap_surroundings_auc": 0.7}, "diagnosis", "not shown", "surroundings"),
        (
            {"swap_lesion_auc": 0.5, "swap_surroundings_auc": 0.7, "swap_difference": -0.2},
            "diagnosis",
            "no",
            "surroundings",
        ),
        ({"auc_fall": 0.0}, "diagnosis", "not shown", "not_used"),
    ],
)
def test_maps_that_move_while_the_decision_does_not_follow_get_no_yes(honest, moved, question, verdict, reason):
    """Every map lies on the lesion, the guided ones and those of the method that was not."""
    on_it = {f"over_{name}": 0.5 for name in BASELINES}
    found = answer(guided(measured(measured(honest, on_it), moved, 0.001)), question)
    assert found["verdict"] == verdict and reason in found["reasons"]
