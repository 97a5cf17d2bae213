"""No answer is yes where a gate stands in its way, and an honest record is yes to both questions."""

import polars as pl
import pytest

from lesionlens.presets import demo
from lesionlens.reporting.data import Score, sign
from lesionlens.reporting.verdict import ANSWERS, answers, asked, chosen
from tests.report_data import LABELS, RUNS, build

GROUPS = ("calcification", "mass")
BLIND = ("whole_patch", "random_weights", "dealt_maps")


def around(value, half=0.05):
    return {"value": pl.lit(value), "low": pl.lit(value - half), "high": pl.lit(value + half)}


@pytest.fixture(scope="module")
def honest(changed):
    """One run that is right about everything: 60 test lesions of as many patients, 30 of each group."""
    data = build(runs=RUNS[:1], per_class=30, skill={1: 0.95}, size=24)
    return changed(
        data,
        baseline_differences={"difference": pl.lit(0.2), "low": pl.lit(0.1), "high": pl.lit(0.3)},
        shortcut_audit={"accuracy": pl.lit(0.3), "low": pl.lit(0.2), "high": pl.lit(0.4)},
    )


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
    lesions = honest.frames["sample_results"].filter(pl.col("iou").is_not_null())
    assert answer(honest, "diagnosis")["n_patients"] == lesions["patient"].n_unique()
    assert answer(honest)["n_patients"] == lesions.filter("correct")["patient"].n_unique()


def scores(value):
    """Expressions that set a score of the decision and its interval."""
    return lambda name: {
        column: pl.when(pl.col("score") == name).then(end).otherwise(column) for column, end in around(value).items()
    }


def touched(split):
    return pl.when(entity="patient", split_a="train", split_b=split).then(3).otherwise(0)


only = pl.col("group_name") == "mass"
CONSTRUCTED = {
    "chance": ({"table_2_accuracy": {"low": pl.lit(0.15)}}, "not shown", ("detection", "diagnosis")),
    "shortcut": ({"shortcut_audit": {"accuracy": pl.lit(1.0), "high": pl.lit(1.0)}}, "partly",
                 ("detection", "diagnosis")),
    "hardly_used": ({"occlusion_test": {f"difference{end}": pl.lit(value) for end, value in
                                        (("", 0.002), ("_low", 0.001), ("_high", 0.003))}}, "partly", ("detection",)),
    "few": ({"occlusion_test": {"n": pl.lit(2)}}, "not shown", ("detection",)),
    "leak": ({"split_check": {"shared": touched("test")}}, "not shown", ("detection", "diagnosis")),
    "no_hits": ({"hit_rates": {"value": pl.lit(0.0), "low": pl.lit(0.0), "high": pl.lit(0.05)}}, "not shown",
                ("detection",)),
    "coarse": ({"maps": {"rows": pl.lit(1), "cols": pl.lit(1)}}, "not shown", ("detection",)),
    "no_occlusion": ({"occlusion_test": {"difference_low": None, "difference_high": None}}, "partly", ("detection",)),
    "no_audit": ({"shortcut_audit": pl.DataFrame(schema={"features": pl.String, "accuracy": pl.Float64,
                                                         "low": pl.Float64, "high": pl.Float64})},
                 "partly", ("detection", "diagnosis")),
}  # fmt: skip


@pytest.mark.parametrize("reason", CONSTRUCTED)
def test_a_gate_turns_a_yes_into_less_and_is_named(honest, changed, reason):
    frames, verdict, questions = CONSTRUCTED[reason]
    data = changed(honest, **frames)
    for question in ("detection", "diagnosis"):
        row = answer(data, question)
        assert (row["verdict"], reason in row["reasons"]) == (
            (verdict, True) if question in questions else ("yes", False)
        )


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


@pytest.mark.parametrize("missing", [*BLIND, "centred_disc", "mean_mask"])
def test_without_a_baseline_there_is_no_yes(honest, changed, missing):
    gaps = honest.frames["baseline_differences"]
    row = answer(changed(honest, baseline_differences=gaps.filter(pl.col("baseline") != missing)))
    assert (row["verdict"], row["reasons"]) == ("not shown", ["no_baseline"])


@pytest.mark.parametrize("baseline", [*BLIND, "centred_disc", "mean_mask"])
@pytest.mark.parametrize(("ends", "kind"), [((-0.1, 0.2), "not_above"), ((-0.3, -0.1), "below")])
def test_every_baseline_is_beaten_or_named(honest, changed, baseline, ends, kind):
    at = pl.col("baseline") == baseline
    columns = {name: pl.when(at).then(end).otherwise(name) for name, end in zip(("low", "high"), ends, strict=True)}
    row = answer(changed(honest, baseline_differences=columns))
    worst = "no" if kind == "below" else "not shown"
    assert (row["verdict"], row["reasons"]) == (worst if baseline in BLIND else "partly", [f"{kind}_{baseline}"])
    assert row["measure"] == f"ll_minus_{baseline}" and (row["low"], row["high"]) == ends


def test_masses_below_every_baseline_are_no_yes_for_all(honest, changed):
    ends = {name: pl.when(only).then(end).otherwise(name) for name, end in (("low", -0.3), ("high", -0.1))}
    data = changed(honest, baseline_differences=ends)
    assert [answer(data, group=group)["verdict"] for group in (None, *GROUPS)] == ["partly", "yes", "no"]
    assert answer(data)["sentence"].startswith("Yes for calcification; no for mass")


@pytest.mark.parametrize(("column", "kept"), [("patient", 9), ("lesion", 19)])
def test_few_patients_or_lesions_show_nothing(honest, changed, column, kept):
    results = honest.frames["sample_results"].filter("correct")
    lesions = results.filter(pl.col("iou").is_not_null()).head(kept if column == "lesion" else 60)
    patients = {"patient": (pl.int_range(pl.len()) % kept).cast(pl.String)} if column == "patient" else {}
    for sign_of in (1, -1):  # neither yes nor no
        ends = {"low": pl.lit(0.1 * sign_of), "high": pl.lit(0.1 * sign_of)}
        data = changed(honest, sample_results=lesions.with_columns(**patients), baseline_differences=ends)
        assert (answer(data)["verdict"], answer(data)["reasons"][0]) == ("not shown", "few")


# what the lesion filled in and the swap say, and whether lesion and surroundings then decide
DECISIONS = [
    ({}, "yes"),
    ({"auc_occluded": 0.9}, "partly"),
    ({"swap_surroundings": 0.7}, "partly"),
    ({"auc_occluded": 0.88, "auc_fall": 0.02}, "no"),
    ({"swap_lesion": 0.5, "swap_surroundings": 0.9}, "no"),
    ({"auc_fall": 0.02}, "not shown"),
    ({"swap_lesion": 0.5}, "not shown"),
    ({"auc": 0.5, "auc_fall": 0.0}, "not shown"),
]


@pytest.mark.parametrize(("values", "verdict"), DECISIONS)
def test_the_diagnosis_needs_both_tests(honest, changed, values, verdict):
    data = honest
    for name, value in values.items():
        data = changed(data, decisions=scores(value)(name))
    row = answer(data, "diagnosis")
    assert row["verdict"] == verdict
    assert bool(row["reasons"]) == (verdict != "yes")
    assert answer(data)["verdict"] == "yes"


@pytest.mark.parametrize("missing", ["auc", "auc_fall", "auc_occluded", "swap_lesion", "swap_surroundings"])
def test_an_untested_diagnosis_is_not_shown(honest, changed, missing):
    decisions = honest.frames["decisions"]
    row = answer(changed(honest, decisions=decisions.filter(pl.col("score") != missing)), "diagnosis")
    assert row["verdict"] == "not shown" and row["reasons"]


def test_the_questions_follow_from_the_classes(make_data):
    for labels, questions in (
        (LABELS, ["detection", "diagnosis"]),
        (LABELS[1:], ["diagnosis"]),
        ((LABELS[0], LABELS[2]), ["detection"]),
        ((LABELS[2],), []),
    ):
        assert asked(make_data(labels=labels, runs=RUNS[:1], per_class=1, size=24)) == questions


def test_the_answer_is_about_the_lowest_validation_loss_whatever_the_test_says(data, changed):
    for best in (1, 4):
        losses = {"validation_loss": pl.when(pl.col("run_id") == best).then(0.1).otherwise(0.9)}
        accuracy = {"accuracy": pl.when(pl.col("run_id") == best).then(0.1).otherwise(0.9)}
        found = changed(data, selected_runs=losses, table_2_accuracy=accuracy)
        assert chosen(found).run_id == best and set(answers(found)["run_id"]) == {best}


def test_without_a_run_there_is_no_row(make_data):
    assert answers(make_data(runs=())).is_empty()


@pytest.mark.parametrize(
    ("bounds", "expected"),
    [((0.2, 0.4), "above"), ((-0.1, 0.3), "n.s."), ((0.0, 0.0), "n.s."), ((-0.3, -0.1), "below"), ((None, None), None)],
)
def test_sign_of_a_difference_is_that_of_its_whole_interval(bounds, expected):
    assert sign(*bounds) == Score(0.1, *bounds).sign == expected
