"""Paired comparisons: tests against known values and by simulation, differences against plain computation."""

import warnings
from itertools import product

import numpy as np
import polars as pl
import pytest
from scipy.stats import binomtest, t
from sklearn.metrics import roc_auc_score

from benchmarks import coverage
from lesionlens.config.evaluation import EvaluationConfig
from lesionlens.records import SampleArrays
from lesionlens.scoring.comparison.models import (
    COMPARISONS,
    compare,
    compare_areas,
    compare_breasts,
    holm,
    mcnemar,
    t_test,
)

CONFIG = EvaluationConfig(resamples=400)


def samples(evaluation: int, correct: np.ndarray, iou: np.ndarray, lesion: np.ndarray | None = None) -> pl.DataFrame:
    count = len(correct)
    lesions = np.ones(count, dtype=np.bool_) if lesion is None else lesion
    return pl.DataFrame(
        {
            "evaluation_id": [evaluation] * count,
            "sample_id": list(range(count)),
            "patient": [f"P_{i // 2}" for i in range(count)],
            "is_lesion": lesions,
            "correct": correct,
            "iou": [value if kept else None for value, kept in zip(iou.tolist(), lesions, strict=True)],
        }
    )


@pytest.mark.parametrize(("only_a", "only_b"), [(0, 0), (1, 0), (3, 9), (10, 10), (2, 30)])
def test_mcnemar_of_one_patch_per_patient_is_the_exact_binomial_test(only_a: int, only_b: int) -> None:
    expected = binomtest(only_a, only_a + only_b).pvalue if only_a + only_b else 1.0
    assert mcnemar(np.repeat([1, 0, -1], [only_a, 7, only_b])) == pytest.approx(expected)


def test_mcnemar_counts_every_exchange_of_the_models_by_patient() -> None:
    generator = np.random.default_rng(0)
    signs = np.array(list(product([-1, 1], repeat=9)))
    for _ in range(40):
        surplus = generator.integers(-5, 6, 9) * generator.integers(0, 2, 9)
        as_far = np.abs(signs @ surplus) >= abs(surplus.sum())
        assert mcnemar(surplus) == pytest.approx(as_far.mean())


def test_mcnemar_takes_thousands_of_patients() -> None:
    assert 0 < mcnemar(np.repeat([1, -1], [900, 2100])) < 1e-50
    assert mcnemar(np.zeros(0, dtype=np.int64)) == 1


def test_mcnemar_rejects_as_often_as_it_claims_where_samples_of_a_patient_agree() -> None:
    """`benchmarks.coverage` repeats this with 1,500 studies."""
    by_patient, by_sample = coverage.of_mcnemar(200, seed=1)
    assert by_patient < 0.08 and by_sample > 0.15


def test_t_test_is_the_formula_of_the_book() -> None:
    sums = np.array([0.3, -0.1, 0.25, 0.4, 0.05, 0.1])
    statistic = sums.mean() / (sums.std(ddof=1) / np.sqrt(6))
    assert t_test(sums) == pytest.approx(2 * t.sf(statistic, df=5))
    assert t_test(-sums) == pytest.approx(t_test(sums))


def test_t_test_says_no_more_than_exchanging_the_models_could() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert t_test(np.array([0.2, 0.2])) == 0.5
        assert t_test(np.array([0.1, 0.1 + 1e-17, 0.3 - 0.2])) == 0.25
        assert t_test(np.array([0.5, 0.5001, 0.5, 0.5001, 0.5])) == 2**-4
        assert t_test(np.full(2000, 0.1)) == 0  # 2 ** -1999 is nearer to 0 than any float


def test_t_test_sees_no_difference_in_rounding() -> None:
    for sums in (np.zeros(5), np.array([0.1 + 0.2 - 0.3, 0, 0, 0]), np.full(9, 0.1 + 0.2 - 0.3)):
        assert t_test(sums) == 1


def test_ll_of_equal_models_differs_in_one_of_twenty_studies_whose_lesions_cluster() -> None:
    by_patient, by_lesion = coverage.of_t_test(200, seed=2)
    assert by_patient < 0.08 and by_lesion > 0.15


def test_holm_steps_down_and_never_decreases() -> None:
    np.testing.assert_allclose(holm(np.array([0.01, 0.04, 0.03, 0.005])), [0.03, 0.06, 0.06, 0.02])
    np.testing.assert_allclose(holm(np.array([0.6, 0.9])), [1.0, 1.0])
    assert len(holm(np.zeros(0))) == 0


def test_accuracy_and_ll_are_compared_on_the_same_samples() -> None:
    generator = np.random.default_rng(0)
    count = 200
    lesion = np.arange(count) % 4 != 0
    correct_a, correct_b = generator.random(count) < 0.9, generator.random(count) < 0.6
    iou_a, iou_b = generator.random(count), generator.random(count) * 0.2
    both = pl.concat([samples(2, correct_b, iou_b, lesion), samples(1, correct_a, iou_a, lesion)])
    frame = compare(both, [], CONFIG, seed=0)
    assert frame.schema == COMPARISONS
    accuracy, located = frame.row(0, named=True), frame.row(1, named=True)
    assert [(row["evaluation_a"], row["evaluation_b"], row["score"]) for row in (accuracy, located)] == [
        (1, 2, "accuracy"),
        (1, 2, "ll"),
    ]
    assert accuracy["value_a"] == pytest.approx(correct_a.mean()) and accuracy["n"] == count
    surplus = (correct_a.astype(int) - correct_b.astype(int)).reshape(-1, 2).sum(axis=1)
    assert accuracy["p"] == accuracy["p_holm"] == mcnemar(surplus)
    used = lesion & correct_a & correct_b
    assert located["n"] == used.sum()
    assert located["difference"] == pytest.approx(iou_a[used].mean() - iou_b[used].mean())
    assert 0 < located["low"] < located["difference"] < located["high"]
    by_patient = np.where(used, iou_a - iou_b, 0).reshape(-1, 2).sum(axis=1)
    assert located["p"] == pytest.approx(t_test(by_patient[used.reshape(-1, 2).any(axis=1)]))


def test_many_samples_of_a_patient_make_no_difference_surer() -> None:
    generator = np.random.default_rng(3)
    frames = [samples(i, generator.random(60) < 0.6 + 0.1 * i, generator.random(60)) for i in range(2)]
    once = pl.concat(frames)
    often = pl.concat([once.with_columns(sample_id=5 * pl.col("sample_id") + copy) for copy in range(5)])
    few, many = (compare(found, [], CONFIG, seed=0) for found in (once, often))
    assert few.height == 2 and (5 * few["n"]).to_list() == many["n"].to_list()
    for column in ("difference", "low", "high", "p"):
        np.testing.assert_allclose(few[column].to_numpy(), many[column].to_numpy(), rtol=1e-9, err_msg=column)


def test_equal_evaluations_do_not_differ() -> None:
    correct, iou = np.arange(40) % 3 > 0, np.linspace(0, 1, 40)
    frame = compare(pl.concat([samples(1, correct, iou), samples(2, correct, iou)]), [], CONFIG, seed=0)
    assert frame["difference"].to_list() == [0, 0] and frame["p"].to_list() == [1, 1]


def test_holm_runs_over_the_pairs_of_one_score() -> None:
    generator = np.random.default_rng(1)
    frames = [samples(i, generator.random(80) < 0.5 + 0.15 * i, generator.random(80)) for i in range(3)]
    frame = compare(pl.concat(frames), [], CONFIG, seed=0)
    assert frame.height == 6
    for score in ("accuracy", "ll"):
        part = frame.filter(pl.col("score") == score)
        np.testing.assert_allclose(part["p_holm"].to_numpy(), holm(part["p"].to_numpy()))


def test_pairs_of_selected_runs_are_corrected_among_themselves() -> None:
    generator = np.random.default_rng(4)
    frames = [samples(i, generator.random(80) < 0.5 + 0.1 * i, generator.random(80)) for i in range(5)]
    frame = compare(pl.concat(frames), [0, 2, 3, 99], CONFIG, seed=0)
    chosen = pl.col("evaluation_a").is_in([0, 2, 3]) & pl.col("evaluation_b").is_in([0, 2, 3])
    for score in ("accuracy", "ll"):
        part = frame.filter(pl.col("score") == score)
        family, every = part.filter(chosen), holm(part["p"].to_numpy())
        assert (family.height, part.height) == (3, 10)
        np.testing.assert_allclose(family["p_holm"].to_numpy(), holm(family["p"].to_numpy()))
        others = part.with_columns(of_all=every).filter(~chosen)
        assert others["p_holm"].to_list() == others["of_all"].to_list()


def test_a_clear_difference_is_significant_among_24_runs() -> None:
    generator = np.random.default_rng(5)
    hard = generator.random(160) * 0.4
    frames = [
        samples(
            i, generator.random(160) < (0.95 if i == 0 else 0.5), hard + 0.1 * generator.random(160) + 0.1 * (i == 0)
        )
        for i in range(24)
    ]
    frame = compare(pl.concat(frames), [], EvaluationConfig(resamples=100), seed=0)
    assert frame.height == 2 * 276
    for score in ("accuracy", "ll"):
        part = frame.filter(pl.col("score") == score)
        of_first = part.filter(pl.col("evaluation_a") == 0)
        assert of_first.height == 23 and of_first["p_holm"].max() < 0.05
        assert part.filter(pl.col("evaluation_a") > 0)["p_holm"].min() > 0.05


def test_nothing_to_compare_gives_an_empty_frame() -> None:
    one = samples(1, np.ones(4, dtype=np.bool_), np.ones(4))
    other = samples(2, np.ones(4, dtype=np.bool_), np.ones(4)).with_columns(pl.col("sample_id") + 100)
    for frame in (
        compare(one, [1], CONFIG, 0),
        compare(pl.concat([one, other]), [1, 2], CONFIG, 0),
        compare(one.clear(), [], CONFIG, 0),
    ):
        assert frame.height == 0 and frame.schema == COMPARISONS


def test_without_commonly_correct_lesions_only_accuracy_is_compared() -> None:
    right, wrong = np.ones(6, dtype=np.bool_), np.zeros(6, dtype=np.bool_)
    frame = compare(pl.concat([samples(1, right, np.ones(6)), samples(2, wrong, np.ones(6))]), [], CONFIG, seed=0)
    assert frame["score"].to_list() == ["accuracy"] and frame["difference"].to_list() == [1]


def test_samples_of_one_patient_say_nothing_of_a_difference() -> None:
    frame = pl.concat([samples(n, np.array([n == 1, True]), np.array([0.2, 0.1 * n])) for n in (1, 2)])
    assert frame["patient"].n_unique() == 1 and compare(frame, [1, 2], CONFIG, seed=0).height == 0


def made(labels: np.ndarray, patients: np.ndarray) -> SampleArrays:
    """Test samples of three classes, the first without a lesion."""
    count = len(labels)
    return SampleArrays(
        digest="areas", classes=("B", "BM", "MM"), ids=np.arange(count), pixels=np.zeros((count, 2, 2), np.uint8),
        masks=np.zeros((count, 2, 2), np.bool_), labels=labels, splits=np.full(count, "test"), patients=patients,
        has_mask=labels > 0, groups=("background", "mass", "mass"), statistics=(),
    )  # fmt: skip


VIEWS = {"lesion": ([1, 2], [0, 1, 2]), "malignant": ([2], [1, 2])}


def predicted(generator: np.random.Generator, labels: np.ndarray, skill: float) -> np.ndarray:
    """Probabilities of three classes, the true one larger by `skill` on average; exp of a normal, summing to 1."""
    logits = generator.normal(size=(len(labels), 3)) + skill * np.eye(3)[labels]
    found = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    return np.asarray(found, dtype=np.float32)


def dealt(generator: np.random.Generator, patients: int, each: int = 2) -> SampleArrays:
    labels = np.repeat(generator.permutation(np.arange(patients) % 3), each)
    return made(labels, patients=np.repeat([f"P{n:03d}" for n in range(patients)], each))


def test_differences_of_areas_are_those_of_an_independent_library() -> None:
    generator = np.random.default_rng(0)
    test = dealt(generator, 30)
    models = {4: predicted(generator, test.labels, 2.0), 2: predicted(generator, test.labels, 0.5)}
    found = compare_areas(models, test, VIEWS, [2, 4], CONFIG, 0)
    assert found.schema == pl.Schema(COMPARISONS)
    assert found.select("evaluation_a", "evaluation_b", "score", "n").rows() == [
        (2, 4, "auc_detection", 60), (2, 4, "auc_diagnosis", 40),
    ]  # fmt: skip
    lesion = test.labels > 0
    areas = {n: roc_auc_score(lesion, found[:, 1:].sum(axis=1)) for n, found in models.items()}
    given = {n: found[lesion, 2] / found[lesion, 1:].sum(axis=1) for n, found in models.items()}
    malignant = {n: roc_auc_score(test.labels[lesion] == 2, score) for n, score in given.items()}
    for row, expected in zip(found.iter_rows(named=True), (areas, malignant), strict=True):
        assert (row["value_a"], row["value_b"]) == pytest.approx((expected[2], expected[4]))
        assert row["difference"] == pytest.approx(expected[2] - expected[4])
        assert row["low"] < row["difference"] < row["high"] < 0 and row["p"] == row["p_holm"] < 0.05


def test_equal_predictions_do_not_differ_and_order_gives_the_sign() -> None:
    generator = np.random.default_rng(1)
    test = dealt(generator, 20)
    good, bad = (predicted(generator, test.labels, skill) for skill in (2.0, 0.0))
    same = compare_areas({1: good, 2: good}, test, VIEWS, [], CONFIG, 0)
    assert same["difference"].to_list() == [0.0, 0.0] and same["p"].to_list() == [1.0, 1.0]
    one, other = (compare_areas({1: a, 2: b}, test, VIEWS, [], CONFIG, 0) for a, b in ((good, bad), (bad, good)))
    assert one["difference"].to_list() == pytest.approx([-value for value in other["difference"]])
    assert one["p"].to_list() == pytest.approx(other["p"].to_list())


def test_models_that_are_equally_good_are_told_apart_as_often_as_claimed_and_unequal_ones_found() -> None:
    """Samples of a patient agree: a model's errors are drawn by patient. At most 5 %, give or take of 200 studies."""

    def rejected(skills: tuple[float, float], studies: int) -> float:
        generator, found = np.random.default_rng(2), 0
        for _ in range(studies):
            one = dealt(generator, 40, each=1)
            test = made(np.repeat(one.labels, 3), patients=np.repeat(one.patients, 3))
            models = {
                n: np.repeat(predicted(generator, one.labels, skill), 3, axis=0) for n, skill in enumerate(skills)
            }
            rows = compare_areas(models, test, {"lesion": VIEWS["lesion"]}, [0, 1], EvaluationConfig(resamples=100), 0)
            found += rows["p"][0] < 0.05
        return found / studies

    assert rejected((1.0, 1.0), 200) <= 0.09
    assert rejected((3.0, 0.0), 40) > 0.8


def test_a_side_of_one_patient_is_not_compared() -> None:
    test = made(np.array([0, 0, 1, 1, 1]), patients=np.array(["a", "b", "c", "c", "c"]))
    models = {n: predicted(np.random.default_rng(n), test.labels, 1.0) for n in (1, 2)}
    assert compare_areas(models, test, {"lesion": ([1], [0, 1])}, [], CONFIG, 0).is_empty()


def breast_frame(generator: np.random.Generator, strength: float, patients: int = 150) -> pl.DataFrame:
    """Two breasts of each patient, of whom half are malignant, and a score that tells them by `strength`."""
    sides = [(f"P{n}", side, n % 2) for n in range(patients) for side in ("LEFT", "RIGHT")]
    label = ["malignant" if malignant else "benign" for *_, malignant in sides]
    score = generator.normal(size=len(sides)) + strength * np.array([malignant for *_, malignant in sides])
    return pl.DataFrame({"patient": [s[0] for s in sides], "laterality": [s[1] for s in sides], "label": label,
                         "score": score})  # fmt: skip


def test_equal_systems_are_not_told_apart_by_breast_and_a_better_one_is() -> None:
    generator, evaluation = np.random.default_rng(3), EvaluationConfig(resamples=300)
    equal = [
        compare_breasts(breast_frame(generator, 1.0), breast_frame(generator, 1.0), evaluation, 0) for _ in range(40)
    ]
    held = [found is not None and found["low"] <= 0 <= found["high"] for found in equal]
    assert sum(held) >= 34  # 95 % intervals
    better = compare_breasts(breast_frame(generator, 2.0), breast_frame(generator, 0.7), evaluation, 0)
    assert better is not None and better["low"] > 0 and better["n"] == 300
    assert better["difference"] == pytest.approx(better["value_a"] - better["value_b"])


def test_breasts_are_paired_by_patient_and_side() -> None:
    generator, evaluation = np.random.default_rng(4), EvaluationConfig(resamples=100)
    whole = breast_frame(generator, 1.0, 20)
    alone = whole.filter(laterality="LEFT").sample(fraction=1, shuffle=True, seed=0)
    found = compare_breasts(whole, alone, evaluation, 0)
    assert found is not None and found["n"] == 20 and found["difference"] == 0
    unknown = whole.with_columns(laterality=pl.lit(None, pl.String))
    assert compare_breasts(unknown, unknown, evaluation, 0) is None
    assert compare_breasts(whole, whole.filter(label="benign"), evaluation, 0) is None
