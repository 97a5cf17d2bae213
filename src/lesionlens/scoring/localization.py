"""Localisation scores of maps and baselines: means over lesions, their differences, and over lesions common to runs."""

from collections.abc import Iterator, Mapping, Sequence

import numpy as np
import polars as pl
from numpy.typing import NDArray

from lesionlens.config.evaluation import EvaluationConfig
from lesionlens.frames import END, FRAMES, Schema
from lesionlens.localization.curves import CURVE
from lesionlens.localization.dealt import NAME, Dealt
from lesionlens.localization.samples import ScoredMaps, lifts, scorable
from lesionlens.records import BASELINES, CEILING, FILM_MAPS, SampleArrays
from lesionlens.scoring.bootstrap import Clusters, draw, interval, ratios
from lesionlens.scoring.means import Key, Mean, Means, lesion_populations, means, score_frame

STUDY_SCORES: Schema = {"evaluation_id": pl.Int64, **FRAMES["run_scores"]}
WRONG_CLASS: Schema = {"run_id": pl.Int64, "value": pl.Float64, **END}
CUT = ["method", "target", "policy"]


def localization_scores(
    samples: SampleArrays,
    correct: NDArray[np.bool_],
    maps: Sequence[ScoredMaps],
    clusters: Clusters,
    confidence: float,
) -> pl.DataFrame:
    """ll (mean IoU) by policy, hit_rate, energy, rank_accuracy and pixel_ap over `lesion_populations`, of films their
    lift, too; and acc_x_ll, accuracy times ll, pooled.

    Blank maps count 0. `n` is the number of samples in the mean. Where no threshold could be tuned the reason is
    'no_validation_lesions'. Frame: run_scores.
    """
    populations, lesions = lesion_populations(samples, correct), scorable(samples)
    wanted = [
        Mean(key | where, values, chosen & ~np.isnan(values))
        for m in maps
        for key, values in _sample_scores(m)
        for where, chosen in populations
    ]
    found = means(wanted, clusters, confidence)
    untuned = [
        (pl.col("method") == m.method) & (pl.col("target") == m.target) & (pl.col("policy") == "validation")
        for m in maps
        if "validation" in m.cuts and lesions.any() and np.isnan(m.cuts["validation"].iou[lesions]).all()
    ]
    reason = pl.when(pl.any_horizontal(pl.lit(False), *untuned)).then(pl.lit("no_validation_lesions"))
    lifted = means(_lifts(samples, maps, populations), clusters, confidence, binary=False, ratio=True)
    scores = pl.concat(
        [found.frame(FRAMES["run_scores"]), _products(found, correct, clusters, confidence),
         lifted.frame(FRAMES["run_scores"])]
    )  # fmt: skip
    return scores.with_columns(reason=reason.otherwise(pl.col("reason")))


def _lifts(
    samples: SampleArrays, maps: Sequence[ScoredMaps], populations: list[tuple[dict[str, object], NDArray[np.bool_]]]
) -> list[Mean]:
    """Of films the lift of every map over `populations`; nothing of patches."""
    if samples.breasts is None:
        return []
    found = [(m, np.where(_explained(m), lifts(m.scores.energy, samples), np.nan)) for m in maps]
    return [
        Mean({"name": "lift", "method": m.method, "target": m.target} | where, values, chosen & ~np.isnan(values))
        for m, values in found
        for where, chosen in populations
    ]


def _sample_scores(maps: ScoredMaps) -> list[tuple[Key, NDArray[np.float64]]]:
    """Key and values [n] of every score of a map."""
    scores = maps.scores
    key: dict[str, object] = {"method": maps.method, "target": maps.target}
    return [
        *((key | {"name": "ll", "policy": policy}, cut.iou) for policy, cut in maps.cuts.items()),
        (key | {"name": "hit_rate"}, np.where(_explained(maps), scores.hit, np.nan)),
        (key | {"name": "energy"}, scores.energy),
        (key | {"name": "rank_accuracy"}, scores.rank_accuracy),
        (key | {"name": "pixel_ap"}, scores.pixel_ap),
    ]


def _explained(maps: ScoredMaps) -> NDArray[np.bool_]:
    return np.ones(len(maps.scores.hit), dtype=np.bool_) if maps.explained is None else maps.explained


def _products(found: Means, correct: NDArray[np.bool_], clusters: Clusters, confidence: float) -> pl.DataFrame:
    """acc_x_ll, accuracy times ll, of all pooled ll of maps that are no baseline."""
    columns = [
        column
        for column, key in enumerate(found.keys)
        if key["name"] == "ll" and key["group_name"] == "all" and key["method"] not in (*BASELINES, *FILM_MAPS, CEILING)
    ]
    right = correct.astype(np.float64)
    accuracy = ratios(right[:, None], np.ones((len(right), 1), dtype=np.bool_), clusters)
    low, high = interval(accuracy * found.resampled[:, columns], confidence, found.patients[columns])
    keys = [found.keys[column] | {"name": "acc_x_ll"} for column in columns]
    return score_frame(FRAMES["run_scores"], keys, found.value[columns] * right.mean(), low, high, found.n[columns])


def iou_curves(
    samples: SampleArrays,
    correct: NDArray[np.bool_],
    maps: Sequence[ScoredMaps],
    clusters: Clusters,
    confidence: float,
) -> pl.DataFrame:
    """Mean IoU at every threshold 0.05, 0.10, ... 0.95, over `lesion_populations`."""
    populations = lesion_populations(samples, correct)
    wanted = [
        Mean(
            {"method": m.method, "target": m.target, "threshold": round(float(level), 2)} | where,
            m.scores.curve[:, k],
            chosen & _explained(m),
        )
        for m in maps
        for where, chosen in populations
        for k, level in enumerate(CURVE)
    ]
    return means(wanted, clusters, confidence).frame(FRAMES["iou_curves"])


def baseline_differences(
    samples: SampleArrays,
    correct: NDArray[np.bool_],
    maps: Sequence[ScoredMaps],
    dealt: Sequence[Dealt],
    random: Mapping[str, ScoredMaps],
    policy: str,
    clusters: Clusters,
    confidence: float,
) -> pl.DataFrame:
    """Mean IoU of every map, the grid's ceiling among them, minus that of every baseline, lesion by lesion, over
    `lesion_populations`. The baselines 'dealt_maps' and 'random_weights' (by method: `random`) are of the same method.

    `difference` is ll minus the baseline's ll, since both are means over the same lesions. Resampling the differences
    themselves is sharper than two intervals side by side: lesions that are hard for one are often hard for the other.
    policy: that of the baselines beside the ceiling. Null with a reason where there is no lesion, or an interval alone
    from one patient.
    """
    populations = lesion_populations(samples, correct)
    wanted = [
        Mean(key | where, gap, chosen & ~np.isnan(gap))
        for key, gap in _gaps(maps, dealt, random, policy)
        for where, chosen in populations
    ]
    return means(wanted, clusters, confidence, binary=False).frame(FRAMES["baseline_differences"])


def _gaps(
    maps: Sequence[ScoredMaps], dealt: Sequence[Dealt], random: Mapping[str, ScoredMaps], headline: str
) -> Iterator[tuple[Key, NDArray[np.float64]]]:
    """IoU float64 [n] of every map under every policy minus that of every baseline."""
    baselines = [m for m in maps if m.is_baseline]
    for m in maps:
        if m.is_baseline or m.method in FILM_MAPS:
            continue
        # the ceiling stands above what the model's own maps are compared with
        own = (
            dealt[0] if m.method == CEILING else next(d for d in dealt if (d.method, d.target) == (m.method, m.target))
        )
        for policy, cut in m.cuts.items():
            other = headline if m.method == CEILING else policy
            key: Key = {"method": m.method, "target": m.target, "policy": policy}
            same = random.get(m.method)
            for baseline in [same if same and b.method == same.method else b for b in baselines]:
                yield key | {"baseline": baseline.method}, cut.iou - baseline.cut(other).iou
            yield key | {"baseline": NAME}, cut.iou - own.iou[other]


def dealt_scores(
    samples: SampleArrays, correct: NDArray[np.bool_], dealt: Dealt, clusters: Clusters, confidence: float
) -> pl.DataFrame:
    """ll of the baseline 'dealt_maps' by policy over `lesion_populations`. Frame: run_scores; where a lesion has no
    other patient's map it does not count."""
    wanted = [
        Mean(
            {"name": "ll", "method": NAME, "target": dealt.target, "policy": policy} | where, iou, used & ~np.isnan(iou)
        )
        for policy, iou in dealt.iou.items()
        for where, used in lesion_populations(samples, correct)
    ]
    return means(wanted, clusters, confidence).frame(FRAMES["run_scores"])


def ceiling_shares(
    samples: SampleArrays,
    correct: NDArray[np.bool_],
    maps: Sequence[ScoredMaps],
    ceiling: ScoredMaps,
    clusters: Clusters,
    confidence: float,
) -> pl.DataFrame:
    """ceiling_share: LL of every map as a proportion of the LL that the annotation itself reaches at its resolution, at
    most 1, over `lesion_populations`. Frame: run_scores."""
    top = ceiling.cuts["mask"].iou
    frames = []
    for m in maps:
        for policy, cut in m.cuts.items() if not m.is_reference else ():
            key: Key = {"name": "ceiling_share", "method": m.method, "target": m.target, "policy": policy}
            for where, chosen in lesion_populations(samples, correct):
                used = (chosen & ~np.isnan(cut.iou))[:, None]
                both = np.stack([cut.iou, top], axis=1)
                resampled = ratios(both, np.repeat(used, 2, axis=1), clusters)
                with np.errstate(invalid="ignore", divide="ignore"):
                    shares = np.minimum(resampled[:, :1] / resampled[:, 1:], 1.0)
                low, high = interval(shares, confidence, clusters.patients(used))
                sums = both[used[:, 0]].sum(axis=0)
                value = min(sums[0] / sums[1], 1.0) if sums[1] > 0 else np.nan
                row = [key | where], np.array([value]), low, high, np.array([used.sum()])
                frames.append(score_frame(FRAMES["run_scores"], *row))
    return pl.concat([pl.DataFrame(schema=FRAMES["run_scores"]), *frames])


def common_scores(
    samples: pl.DataFrame, localizations: pl.DataFrame, evaluation: EvaluationConfig, seed: int
) -> pl.DataFrame:
    """ll and acc_x_ll of every evaluation over the lesions that all of them classify correctly, pooled and by label
    group: the only ll whose means over runs can be compared.

    samples: evaluation_id, sample_id, patient, group_name, correct; localizations: evaluation_id, sample_id, method,
    target, policy, iou (null where there is none). Rows (STUDY_SCORES): one per evaluation, map or baseline, policy
    and group, population 'common_lesions'; value null with reason 'no_samples' where no lesion is common.
    """
    evaluations = sorted(samples["evaluation_id"].unique().to_list())
    if not evaluations:
        return pl.DataFrame(schema=STUDY_SCORES)
    counted = samples.group_by("sample_id").agg(right=pl.col("correct").sum(), evaluated=pl.len())
    common = counted.filter(right=len(evaluations), evaluated=len(evaluations))["sample_id"]
    frames = []
    for number in evaluations:
        rows = samples.filter(evaluation_id=number).sort("sample_id")
        located = localizations.filter(evaluation_id=number)
        chosen = rows["sample_id"].is_in(common.implode()).to_numpy()
        scores = _common_of_one(rows, located, chosen, evaluation, seed)
        frames.append(scores.select(pl.lit(number, dtype=pl.Int64).alias("evaluation_id"), pl.all()))
    return pl.concat(frames)


def _common_of_one(
    rows: pl.DataFrame, located: pl.DataFrame, chosen: NDArray[np.bool_], evaluation: EvaluationConfig, seed: int
) -> pl.DataFrame:
    clusters = draw(rows["patient"].to_numpy(), evaluation.resamples, np.random.default_rng(seed))
    wanted = []
    for cut, part in located.sort(CUT).group_by(CUT, maintain_order=True):
        joined = rows.select("sample_id", "group_name").join(part, on="sample_id", how="left", maintain_order="left")
        iou = joined["iou"].fill_null(np.nan).to_numpy()
        of_group = joined["group_name"].to_numpy()
        key: Key = {"name": "ll", **dict(zip(CUT, cut, strict=True)), "population": "common_lesions"}
        for group in ("all", *np.unique(of_group[~np.isnan(iou)])):
            used = chosen & ~np.isnan(iou) & ((of_group == group) | (group == "all"))
            wanted.append(Mean(key | {"group_name": str(group)}, iou, used))
    found = means(wanted, clusters, evaluation.confidence)
    products = _products(found, rows["correct"].to_numpy(), clusters, evaluation.confidence)
    return pl.concat([found.frame(FRAMES["run_scores"]), products])


def wrong_class_scores(samples: pl.DataFrame, resamples: int, confidence: float, seed: int) -> pl.DataFrame:
    """Mean IoU over the lesions whose predicted class is wrong, with its interval.

    samples: run_id, patient, correct, confidence, iou (null where there is none). One row (WRONG_CLASS) per run that
    has such lesions; no interval where all are of one patient.
    """
    wrong = samples.drop_nulls(["iou", "confidence"]).filter(~pl.col("correct"))
    found = []
    for (run_id,), lesions in wrong.group_by("run_id", maintain_order=True):
        iou = lesions["iou"].to_numpy()
        clusters = draw(lesions["patient"].to_numpy(), resamples, np.random.default_rng(seed))
        scores = means([Mean({"run_id": run_id}, iou, np.ones(len(iou), dtype=np.bool_))], clusters, confidence)
        found.append(scores.frame(WRONG_CLASS))
    return pl.concat(found) if found else pl.DataFrame(schema=WRONG_CLASS)
