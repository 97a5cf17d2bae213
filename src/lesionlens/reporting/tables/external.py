"""Scores beside those of elsewhere: of a run on another data set, of other studies on the same samples."""

from collections.abc import Sequence
from itertools import combinations, product

import numpy as np
import polars as pl

from lesionlens.config.evaluation import EvaluationConfig
from lesionlens.detection.froc import Difference, froc_difference
from lesionlens.detection.marks import lesions_of, marks_of
from lesionlens.records import ReportData
from lesionlens.reporting.data import (
    ESTIMATE,
    Model,
    Part,
    confidence,
    evaluated,
    frame,
    headline_method,
    level,
    lookup,
    sql,
    wide,
    with_models,
)
from lesionlens.reporting.formatting import POINTS, count, p_value
from lesionlens.reporting.tables.spec import Cell, Column, TableSpec, decimal, estimate, model, text, whole
from lesionlens.scoring.bootstrap import draw
from lesionlens.scoring.comparison.models import COMPARISONS, compare, compare_breasts, holm

MEASURES = {
    "accuracy": "accuracy",
    "balanced_accuracy": "balanced accuracy",
    "auc": "AUC, mean one against the rest",
    "ll": "LL score",
    "hit_rate": "hit rate",
}
"""As they are written, in the order of the table."""


def external(data: ReportData) -> tuple[TableSpec, ...]:
    """One table per run and other data set; empty where no run was evaluated on any."""
    found = frame(data, "external")
    order = pl.col("measure").replace_strict({name: n for n, name in enumerate(MEASURES)}, return_dtype=pl.Int64)
    return tuple(
        _table(data, part.sort(order)) for part in found.partition_by("other_id", maintain_order=True) if part.height
    )


def _table(data: ReportData, part: pl.DataFrame) -> TableSpec:
    ci, first = confidence(data), part.row(0, named=True)
    columns = (
        model(),
        text("Score", "measure", terms=MEASURES),
        *(
            column
            for side, head in (("internal", "Own test split"), ("external", "Other data"))
            for column in (
                estimate(head, side, small=ci),
                whole("Patches", f"{side}_n"),
                whole("Patients", f"{side}_patients"),
            )
        ),
        estimate("Difference", "difference", small=ci),
    )
    return TableSpec(
        f"external-{first['other_id']}", "Other data", f"Own test split against {first['other_dataset']}", columns,
        with_models(data, part, evaluated(data)), notes(first), sql(data, ["external"]),
    )  # fmt: skip


def notes(row: dict[str, object]) -> tuple[str, ...]:
    """What a reader must know of the other data set, by one row of the frame `external`."""
    found = []
    if not row["is_external"]:
        found.append(
            f"This is no external validation: {count(int(str(row['shared_images'])))} images of these data are also in "
            "the study's, by their pixels."
        )
    if row["left_out"]:
        found.append(
            f"Left out: {count(int(str(row['left_out'])))} patches of {count(int(str(row['shared_patients'])))} "
            "patients with an image that the run was trained or tuned on."
        )
    missing = row["missing_classes"]
    if isinstance(missing, list) and missing:
        found.append(
            f"No patch of class {', '.join(map(str, missing))} is in the other data: balanced accuracy and AUC "
            "are over the classes of both."
        )
    found.append(
        "Weights, normalisation, class order and thresholds are those of the study; nothing was tuned on the other "
        "data. Difference: own test split minus other data, patients of the two drawn independently. LL score and hit "
        "rate are over correctly classified lesions."
    )
    return tuple(found)


PAIRED = {"accuracy": "accuracy", "ll": "LL score"}
COLUMNS = {"run_a": pl.Int64, "run_b": pl.Int64, "model_a": pl.String, "model_b": pl.String, "series": pl.Int64}


def same_samples(parts: Sequence[Part]) -> bool:
    """Whether all studies test on the samples of one set, so that their scores can be compared."""
    return len({str(data.study["sample_set_digest"]) for data, _, _ in parts}) == 1


def between_studies(parts: Sequence[Part]) -> TableSpec:
    """Paired differences between models of any two studies on the same samples; no row where there are no such two.

    Models of the same backbone, strategy and guidance are paired; where two studies have none such, all of theirs.
    """
    found = [
        pl.DataFrame([dict(zip(COLUMNS, values, strict=True))], COLUMNS).join(pair, how="cross")
        for first, second in combinations(parts, 2)
        if same_samples((first, second))
        for a, b in _alike(first[2], second[2])
        for values in [(a.run_id, b.run_id, f"{a.full} · {first[1]}", f"{b.full} · {second[1]}", a.series)]
        for pair in [paired((first[0], a), (second[0], b))]
    ]
    table = pl.concat([pl.DataFrame(schema={**COLUMNS, **COMPARISONS}), *found])
    corrected = [part.with_columns(p_holm=holm(part["p"].to_numpy())) for part in table.partition_by("score")]
    table = pl.concat([table.clear(), *corrected])
    excludes = (pl.col("low") > 0) | (pl.col("high") < 0)
    of = parts[0][0]
    table = table.with_columns(significant=excludes & (pl.col("p_holm") < 1 - level(of)))
    columns = (
        Column("Model", ("run_a", "model_a"), lambda _, title: Cell(title), numeric=False),
        Column("Minus", ("run_b", "model_b"), lambda _, title: Cell(title), numeric=False),
        text("Score", "score", terms=PAIRED),
        estimate("Difference", "difference", ("low", "high"), signed=True, small=confidence(of), mark="strong",
                 where="significant"),
        Column("Corrected p", ("p_holm",), lambda p: Cell(p_value(p).removeprefix("p = ").removeprefix("p "))),
        whole("Samples", "n", small="shared"),
    )  # fmt: skip
    note = (
        "Both models of a pair are scored on the same test samples; LL over the lesions that both classify correctly. "
        "Interval and p by patient, as in a study's own report; Holm correction over the pairs of this table, for each "
        f"score separately. Bold: the CI excludes 0 and the corrected p is below {1 - level(of):.2g}."
    )
    query = _queries(parts, "sample_results")
    return TableSpec("paired", "Pairs", "Paired differences between studies", columns, table, (note,), query)


def breasts_between(parts: Sequence[Part]) -> TableSpec:
    """AUC by breast of models of any two studies, paired over the breasts that both test: one view against two, or a
    patch's strongest against either. No row where there are none such.
    """
    rows = []
    for (one, first, mine), (other, second, theirs) in combinations(parts, 2):
        for a, b in product(mine, theirs):
            own, beside = (frame(data, "breast_scores").filter(run_id=of.run_id) for data, of in ((one, a), (other, b)))
            gap = compare_breasts(own, beside, _resampled(one), lookup(one.study.get("config"), "seed") or 0)
            titles = {"model_a": f"{a.full} · {first}", "model_b": f"{b.full} · {second}", "series": a.series}
            rows += [{"run_a": a.run_id, "run_b": b.run_id} | titles | gap] if gap else []
    schema = COLUMNS | dict.fromkeys(("value_a", "value_b", "difference", "low", "high"), pl.Float64)
    table = pl.DataFrame(rows, schema=schema | {"n": pl.Int64})
    columns = (
        Column("Model", ("run_a", "model_a"), lambda _, title: Cell(title), numeric=False),
        Column("Minus", ("run_b", "model_b"), lambda _, title: Cell(title), numeric=False),
        decimal("AUC", "value_a", small="of the one"),
        decimal("AUC", "value_b", small="of the other"),
        estimate("Difference", "difference", ("low", "high"), signed=True, small=confidence(parts[0][0])),
        whole("Breasts", "n", small="shared"),
    )
    note = (
        "Malignant breasts against others, on the breasts that both studies test, resampled together by patient. A "
        "breast's score: of patches the strongest, of single films the mean over its views, of two views their one "
        "score. Published on the official split: one view 0.8153 and 0.8343, two views 0.8483 and 0.8658 (Petrini et "
        "al. 2022 and 2025); on a random split of its own 0.88 (Shen et al. 2019), whose users get 0.69 to 0.75 on the "
        "official one."
    )
    query = _queries(parts, "breast_scores")
    return TableSpec("breasts", "By breast", "AUC of the same breasts", columns, table, (note,), query)


def _resampled(data: ReportData) -> EvaluationConfig:
    """How the study resamples."""
    resamples = lookup(data.study.get("config"), "evaluation.resamples") or EvaluationConfig().resamples
    return EvaluationConfig(resamples=resamples, confidence=level(data))


def froc_of_models(parts: Sequence[Part]) -> TableSpec | None:
    """Lesions found at 0.25 to 4 false marks per film by every model's headline marks, over its own films; None where
    nothing marks."""
    found = [
        wide(own, ["n"], "point", list(POINTS.values()), ESTIMATE).with_columns(
            run_id=pl.lit(of.run_id), model=pl.lit(of.full), study=pl.lit(name), series=pl.lit(of.series)
        )
        for data, name, models in parts
        for of in models
        for own in [_read(data, of)]
        if own.height
    ]
    columns = (
        Column("Model", ("run_id", "model"), lambda _, title: Cell(title), numeric=False),
        text("Study", "study"),
        whole("Lesions", "n"),
        *(estimate(at, at, small="CI", mark="strong" if at == "1" else "") for at in POINTS.values()),
    )
    note = (
        "The proportion of lesions found by a mark whose centre lies in their box, at the threshold that leaves at "
        "most so many marks per film on no lesion: a detector's boxes, or the peaks of a classifier's maps."
    )
    return (
        None
        if not found
        else TableSpec(
            "froc",
            "FROC",
            "Lesions found, by false marks per film",
            columns,
            pl.concat(found),
            (note,),
            _queries(parts, "detections"),
        )
    )


def _read(data: ReportData, of: Model) -> pl.DataFrame:
    found = frame(data, "detections").filter(
        measure="sensitivity", criterion="centre", group_name="all", run_id=of.run_id, method=headline_method(data)
    )
    return found.filter(pl.col("false_marks").is_in(list(POINTS))).with_columns(
        point=pl.col("false_marks").replace_strict(POINTS, return_dtype=pl.String)
    )


def froc_between(parts: Sequence[Part]) -> TableSpec:
    """Differences at 1 false mark per film between the marks of any two models of studies on the same films, paired by
    patient; no row where the films are not the same.
    """
    marking = [(data, name, of) for data, name, models in parts for of in models if _read(data, of).height]
    found = [
        {"run_a": a.run_id, "run_b": b.run_id, "model_a": f"{a.full} · {first}", "model_b": f"{b.full} · {second}",
         "series": a.series, "difference": gap.value, "low": gap.low, "high": gap.high, "n": gap.n}
        for (one, first, a), (other, second, b) in combinations(marking, 2)
        if one is not other and one.study["sample_set_digest"] == other.study["sample_set_digest"]
        for gap in [_froc_difference((one, a), (other, b))]
    ]  # fmt: skip
    schema = COLUMNS | dict.fromkeys(("difference", "low", "high"), pl.Float64) | {"n": pl.Int64}
    table = pl.DataFrame(found, schema=schema).with_columns(pl.col(pl.Float64).fill_nan(None))
    table = table.with_columns(apart=(pl.col("low") > 0) | (pl.col("high") < 0))
    columns = (
        Column("Model", ("run_a", "model_a"), lambda _, title: Cell(title), numeric=False),
        Column("Minus", ("run_b", "model_b"), lambda _, title: Cell(title), numeric=False),
        estimate("Difference", "difference", ("low", "high"), signed=True, small=confidence(parts[0][0]), mark="strong",
                 where="apart"),
        whole("Lesions", "n"),
    )  # fmt: skip
    note = (
        "Proportion of lesions found at 1 false mark per film, of the same lesions, each model at its own threshold in "
        "the same resamples of patients. Bold: the CI excludes 0."
    )
    query = _queries(parts, "marks", "film_lesions", "sample_results")
    return TableSpec("froc-paired", "FROC pairs", "Lesions found by one and the other", columns, table, (note,), query)


def _froc_difference(first: tuple[ReportData, Model], second: tuple[ReportData, Model]) -> Difference:
    data = first[0]
    films = frame(data, "gallery")["sample_id"].to_numpy()
    lesions = lesions_of(frame(data, "film_lesions"), films)
    marks = [marks_of(frame(each, "marks").filter(run_id=of.run_id), films) for each, of in (first, second)]
    patients = dict(frame(data, "sample_results").select("sample_id", "patient").rows())
    resamples = lookup(data.study.get("config"), "evaluation.resamples") or EvaluationConfig().resamples
    generator = np.random.default_rng(lookup(data.study.get("config"), "seed") or 0)
    clusters = draw(np.array([patients[film] for film in films.tolist()]), resamples, generator)
    return froc_difference(marks[0], marks[1], lesions, clusters, level(data))


def _queries(parts: Sequence[Part], *names: str) -> str:
    return "\n\n".join(dict.fromkeys(sql(data, names) for data, _, _ in parts))


def _alike(first: Sequence[Model], second: Sequence[Model]) -> list[tuple[Model, Model]]:
    pairs = list(product(first, second))
    kinds = ("backbone", "strategy", "guidance")
    return [(a, b) for a, b in pairs if all(getattr(a, kind) == getattr(b, kind) for kind in kinds)] or pairs


def paired(first: tuple[ReportData, Model], second: tuple[ReportData, Model]) -> pl.DataFrame:
    """Accuracy and LL of the first model minus those of the second, on the samples of both; columns COMPARISONS.

    Without a row where the samples that both tested are of fewer than two patients.
    """
    wanted = ("sample_id", "patient", "correct", "iou")
    samples = pl.concat(
        frame(data, "sample_results").filter(run_id=of.run_id).select(pl.lit(n).alias("evaluation_id"), *wanted)
        for n, (data, of) in enumerate((first, second))
    ).with_columns(is_lesion=pl.col("iou").is_not_null())
    config = first[0].study.get("config")
    return compare(samples, (0, 1), _resampled(first[0]), lookup(config, "seed") or 0)
