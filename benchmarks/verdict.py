"""How often the answer says yes where nothing is to be found, and how much there must be for it to say so.

    python -m benchmarks.verdict STUDY                200 null studies of each size, about 15 minutes on one core
    python -m benchmarks.verdict STUDY --studies 20   a try

STUDY is a finished study of the record, by name or number; each simulated study has some of its test patients, with
their outlines, maps and probabilities. Detection: maps are dealt to lesions of other patients, alike in being
classified correctly or not, while predictions and occlusion stay as they were, so that nothing but the maps stands
against a yes. Diagnosis: patients get the classes of other patients' lesions. In a proportion of the patients nothing
is dealt: 0 is the null, where at most 5 % may be answered "yes" or "partly"; the least proportion that is answered so
in 80 % is the power. Groups of lesions are taken together. A study has only those swapped pairs of which both patients
were drawn, fewer than one of its size would have, so the power for diagnosis is rather higher than measured here.
"""

import argparse
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import polars as pl
from numpy.typing import NDArray

from db import evaluations, reports, studies
from db.engine import make_engine
from db.queries import arrays
from lesionlens.attribution.scaling import activation_maps
from lesionlens.audits.cells import Stored, seed_of, truth_of
from lesionlens.audits.decision import Occluded, Seed, Truth, decisions
from lesionlens.config.evaluation import EvaluationConfig
from lesionlens.config.study import StudyConfig
from lesionlens.localization.dealt import others
from lesionlens.localization.metrics import hits
from lesionlens.records import ReportData
from lesionlens.reporting.findings import Question
from lesionlens.reporting.verdict import JUDGED, answers, chosen
from lesionlens.scoring.binary import binary_views
from lesionlens.scoring.bootstrap import draw
from lesionlens.scoring.means import Mean, means

RESAMPLES = 400
SIZES = (12, 30, 90)
SHARES = (0.1, 0.2, 0.35, 0.5, 0.75, 1.0)
EFFECT: dict[Question, tuple[str, str, str]] = {
    "detection": ("localization", "over_dealt_maps", "own LL minus dealt"),
    "diagnosis": ("diagnosis", "auc_intact", "AUC of the diagnosis"),
}
Rows = NDArray[np.int64]


@dataclass(frozen=True, slots=True, eq=False)
class Pool:
    """The chosen model on n test samples. iou float64, hit bool [n, n]: of a sample's outline (row) with the map of a
    sample (column), NaN and False where either has none."""

    data: ReportData
    evaluation: EvaluationConfig
    run_id: int
    truth: Truth
    seed: Seed
    fractions: NDArray[np.float64]
    iou: NDArray[np.float64]
    hit: NDArray[np.bool_]


def load(name: str) -> Pool:
    """The pool of a study of the record."""
    with make_engine().connect() as connection:
        study_id = studies.find_study(connection, name)
        config = StudyConfig.model_validate(studies.study_config(connection, study_id))
        sample_set_id = studies.study_row(connection, study_id).sample_set_id
        samples = arrays.load_samples(connection, sample_set_id)
        views = binary_views(samples, arrays.sample_attributes(connection, sample_set_id), config.data.positive)
        stored = Stored(**evaluations.decided(connection, study_id))
        data = reports.report_data(connection, study_id, (*JUDGED, "maps"))
    model = chosen(data)
    if model is None:
        raise SystemExit(f"study {name} has no evaluated model")
    run = data.frames["runs"].filter(run_id=model.run_id).row(0, named=True)
    test, truth = samples.split("test"), truth_of(samples, views)
    seed = seed_of(stored, run["evaluation_id"], test, config.evaluation)
    ids = pl.DataFrame({"sample_id": test.ids})
    mine = {
        frame: ids.join(data.frames[frame].filter(run_id=model.run_id), on="sample_id", maintain_order="left")
        for frame in ("maps", "sample_results")
    }
    shape = mine["maps"].select("rows", "cols").row(0)
    grids = np.array(mine["maps"]["grid"].to_list(), dtype=np.float32).reshape(-1, *shape)
    levels = mine["sample_results"]["threshold"].fill_null(np.nan).to_numpy()
    iou, hit = crossed(grids, levels, test.masks, test.has_mask, config.evaluation)
    lesions = test.has_mask & test.masks.any(axis=(1, 2))
    known = seed.iou[config.evaluation.methods[0]][lesions]
    assert np.abs(np.diag(iou)[lesions] - known).max() < 1e-12, "the pairs of own map and outline are not the record's"
    return Pool(
        _of_one_model(data, model.run_id), config.evaluation, model.run_id, truth, _of_one_method(seed),
        test.masks.mean(axis=(1, 2)), iou, hit,
    )  # fmt: skip


def _of_one_model(data: ReportData, run_id: int) -> ReportData:
    """The frames of one run, all lesions in one group."""
    frames = {name: frame.filter(run_id=run_id) if "run_id" in frame.columns else frame
              for name, frame in data.frames.items() if name != "maps"}  # fmt: skip
    frames["labels"] = frames["labels"].with_columns(group_name=pl.lit("lesion"))
    return ReportData(data.study, frames)


def _of_one_method(seed: Seed) -> Seed:
    kept = {name: iou for name, iou in seed.iou.items() if name not in seed.methods[1:]}
    return replace(seed, iou=kept, methods=seed.methods[:1])


def crossed(
    grids: NDArray[np.float32],
    levels: NDArray[np.float64],
    masks: NDArray[np.bool_],
    has_mask: NDArray[np.bool_],
    evaluation: EvaluationConfig,
) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
    """IoU and hit of every outline with every map of a lesion, cut at the map's own threshold: [n, n]."""
    rows = np.flatnonzero(has_mask & masks.any(axis=(1, 2)))
    maps, _ = activation_maps(grids[rows], masks.shape[1:], evaluation.scaling)
    regions = (maps >= levels[rows].astype(np.float32)[:, None, None]).reshape(len(rows), -1).astype(np.float32)
    outlines = masks[rows].reshape(len(rows), -1).astype(np.float32)
    both = (outlines @ regions.T).astype(np.float64)  # counts of pixels, exact in float32
    either = outlines.sum(axis=1)[:, None] + regions.sum(axis=1)[None, :] - both
    iou, hit = np.full((len(grids), len(grids)), np.nan), np.zeros((len(grids), len(grids)), dtype=np.bool_)
    iou[np.ix_(rows, rows)] = both / either
    for row, values in zip(rows, maps, strict=True):
        hit[rows, row] = hits(np.broadcast_to(values, (len(rows), *values.shape)), masks[rows])
    return iou, hit


def study(
    pool: Pool, question: Question, size: int, share: float, generator: np.random.Generator
) -> tuple[bool, float]:
    """Whether one simulated study of `size` patients is answered yes or partly, and how large the effect in it is.

    share: the proportion of patients in whom nothing is dealt.
    """
    patients = generator.permutation(np.unique(pool.truth.patients))[:size]
    dealt = patients[round(share * size) :]
    rows = np.flatnonzero(np.isin(pool.truth.patients, patients))
    given = _part(pool.truth, rows)
    right = pool.seed.probabilities[rows].argmax(axis=1) == given.labels
    maps = rows
    if question == "detection":
        maps = _deal_maps(rows, given, right, np.isin(given.patients, dealt), generator)
    else:
        given = replace(given, labels=_deal_labels(given, dealt, generator))
        right = pool.seed.probabilities[rows].argmax(axis=1) == given.labels
    lesions = np.flatnonzero(~np.isnan(np.diag(pool.iou)[rows]))
    drawn = others(given.patients[lesions], right[lesions].astype(np.int64), generator)
    baseline = np.full(len(rows), np.nan)
    for lesion, chosen_ones in zip(lesions, drawn, strict=True):
        given_to_them = maps[lesions[chosen_ones]]
        given_to_them = given_to_them[
            given_to_them != rows[lesion]
        ]  # its own map, dealt away, is not to be found again
        if len(given_to_them):
            baseline[lesion] = pool.iou[rows[lesion], given_to_them].mean()
    method = pool.evaluation.methods[0]
    located = {name: iou[rows] for name, iou in pool.seed.iou.items()}
    located |= {method: pool.iou[rows, maps], "dealt_maps": baseline}
    found = decisions(given, [_seed(pool, rows, located)], RESAMPLES, pool.evaluation.confidence, 0)
    verdict = _answered(pool, question, given, found, pool.hit[rows, maps], rows, right)
    frame, measure, _ = EFFECT[question]
    variant = method if frame == "localization" else "smooth"
    effect = found.filter(pl.col("group_name").is_null(), question=frame, variant=variant, measure=measure)["value"]
    return verdict in ("yes", "partly"), effect[0] if len(effect) and effect[0] is not None else float("nan")


def _part(truth: Truth, rows: Rows) -> Truth:
    one_group = np.full(len(rows), "lesion")
    return replace(truth, labels=truth.labels[rows], patients=truth.patients[rows], groups=one_group,
                   is_lesion=truth.is_lesion[rows])  # fmt: skip


def _deal_maps(
    rows: Rows, truth: Truth, right: NDArray[np.bool_], dealt: NDArray[np.bool_], generator: np.random.Generator
) -> Rows:
    """Whose map each sample has: of patients that are dealt, one of another patient's lesions, as right as its own."""
    maps = rows.copy()
    for place in np.flatnonzero(truth.is_lesion & dealt):
        other = truth.is_lesion & (truth.patients != truth.patients[place])
        alike = np.flatnonzero(other & (right == right[place]))
        maps[place] = rows[generator.choice(alike if len(alike) else np.flatnonzero(other))]
    return maps


def _deal_labels(truth: Truth, dealt: NDArray[np.str_], generator: np.random.Generator) -> NDArray[np.int64]:
    """Labels with the lesions' classes of these patients dealt among them, those without a lesion left out."""
    labels = truth.labels.copy()
    theirs = dealt[np.isin(dealt, truth.patients[truth.is_lesion])]
    for patient, other in zip(theirs, generator.permutation(theirs), strict=True):
        mine = np.flatnonzero(truth.is_lesion & (truth.patients == patient))
        labels[mine] = generator.choice(truth.labels[truth.is_lesion & (truth.patients == other)], len(mine))
    return labels


def _seed(pool: Pool, rows: Rows, located: dict[str, NDArray[np.float64]]) -> Seed:
    given = pool.seed
    kept = np.isin(given.surroundings, rows) & np.isin(given.donors, rows)
    occlusions = {
        variant: Occluded(
            o.lesion[rows], o.control[rows], o.lesion_change[rows], o.control_change[rows], o.places[rows]
        )
        for variant, o in given.occlusions.items()
    }
    places = (np.searchsorted(rows, given.surroundings[kept]), np.searchsorted(rows, given.donors[kept]))
    return Seed(given.probabilities[rows], occlusions, *places, given.swapped[kept], located, given.methods)


def _answered(
    pool: Pool, question: Question, truth: Truth, found: pl.DataFrame, hit: NDArray[np.bool_], rows: Rows,
    right: NDArray[np.bool_],
) -> str:  # fmt: skip
    """The answer of the report about all lesions of the study."""
    run = pool.data.frames["runs"].row(0, named=True)
    cell = {name: pl.lit(run[name]) for name in ("backbone", "strategy")}
    clusters = draw(truth.patients, RESAMPLES, np.random.default_rng(0))
    rate = means([Mean({}, hit.astype(np.float64), truth.is_lesion & right)], clusters, pool.evaluation.confidence)
    frames = {
        "decisions": found.with_columns(**cell),
        "hit_rates": pl.DataFrame(
            {"run_id": [pool.run_id], "group_name": ["all"], "value": rate.value, "low": rate.low}
        ).fill_nan(None),
        "sample_results": pl.DataFrame(
            {
                "run_id": [pool.run_id] * len(rows), "correct": right, "mask_fraction": pool.fractions[rows],
                "hit": pl.Series(hit).set(pl.Series(~truth.is_lesion), None),
            }
        ),
    }  # fmt: skip
    told = answers(replace(pool.data, frames=pool.data.frames | frames))
    return str(told.filter(pl.col("group_name").is_null(), question=question)["verdict"][0])


def measure(pool: Pool, question: Question, sizes: Sequence[int], count: int) -> None:
    """Print how often the null is answered yes or partly, and the least share that is in 80 %."""
    print(f"\n{question}: answered yes or partly, of {count} studies; {EFFECT[question][2]}, mean")
    for size in sizes:
        for share in (0.0, *SHARES):
            generator = np.random.default_rng([size, round(100 * share), question == "detection"])
            each = [study(pool, question, size, share, generator) for _ in range(count if share == 0 else count // 2)]
            told, effects = zip(*each, strict=True)
            rate = float(np.mean(told))
            print(f"  {size:3d} patients, undealt {share:4.0%}: {rate:6.1%}  {np.nanmean(effects):6.3f}", flush=True)
            if share and rate >= 0.8:
                break


def main() -> None:
    """Simulate and print."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0] if __doc__ else None)
    parser.add_argument("study", help="a finished study of the record, by name or number")
    parser.add_argument("--studies", type=int, default=200)
    options = parser.parse_args()
    pool = load(options.study)
    count = len(np.unique(pool.truth.patients))
    print(f"study {options.study}: {count} test patients, {int(pool.truth.is_lesion.sum())} lesions")
    asked = [q for q in EFFECT if q == "diagnosis" or not pool.data.frames["labels"]["is_lesion"].all()]
    for question in asked:
        measure(pool, question, [size for size in SIZES if size <= count], options.studies)


if __name__ == "__main__":
    main()
