"""What docs/results.md says of whole films and breasts on the real masses of CBIS-DDSM, measured anew.

    python -m benchmarks.films --weights vgg16.pth    trains and evaluates what the record lacks, then prints

The data are those of benchmarks.real, squashed to 400 x 400. A patch run at the films' scale, films that begin with it,
films that begin with ImageNet alone, and breasts of both views that begin with the former; VGG16, one seed, the last
block and the top on stored features. Differences are paired over the same films, breasts or lesions, with 95 %
intervals by patient from 1,000 resamples.
"""

import argparse
from itertools import combinations
from pathlib import Path
from typing import Any, LiteralString

import numpy as np
import polars as pl

from benchmarks.real import DATA, RESAMPLES, shown, trained
from benchmarks.real_evaluated import decided
from db.bulk import frame
from db.engine import make_engine
from lesionlens.audits.decision import Score, area
from lesionlens.scoring.bootstrap import Clusters, draw, ratios

FILMS = {
    "augment": "none",
    "top": "vgg",
    "balance": "class_weights",
    "stopping": {"keep": "lowest", "start": "loaded", "monitor": "auc", "patience": 2, "max_epochs": 3},
}
STUDIES: dict[str, dict[str, Any]] = {
    "patches": {"patches": {"size": 64, "frame": "image", "copies": 2}},
    "films from patches": {"unit": "image", "training": FILMS | {"start": "patches"}},
    "films from ImageNet": {"unit": "image", "training": FILMS},
    "breasts": {"unit": "breast", "training": FILMS | {"start": "films from patches", "top": "two_views"}},
}
"""What differs from the preset `sound`; `start` names another of them."""
SCORES: LiteralString = """
    SELECT score, coalesce(method, '') AS method, coalesce(policy, '') AS policy, value, low, high, n
    FROM run_scores
    WHERE study = %(study)s AND coalesce(target, 'none') <> 'true' AND value IS NOT NULL
        AND (score = 'malignant_auc' OR population = 'lesions' AND group_name = 'all'
            AND (score IN ('lift', 'hit_rate', 'found_at_1') OR score = 'll' AND policy IN ('validation', 'mask')))
    ORDER BY score DESC, method"""
SAMPLES: LiteralString = """
    SELECT s.sample_key AS key, s.patient, s.true_code AS label, s.lift, p.probability AS malignant
    FROM sample_results AS s
    JOIN class_probabilities AS p USING (study_id, evaluation_id, sample_id)
    WHERE s.study = %(study)s AND p.code = 'MALIGNANT'
    ORDER BY s.sample_key"""
BREASTS: LiteralString = """
    SELECT concat(patient, laterality) AS key, patient, label, score AS malignant FROM breast_scores
    WHERE study = %(study)s AND views > 1 ORDER BY 1"""


def configured(name: str, data: Path, weights: Path) -> dict[str, Any]:
    """The options of a study over the preset `sound`."""
    own = STUDIES[name]
    training = {"weights": str(weights)} | own.get("training", {})
    if training.get("start"):
        training["start"] = f"masses: {training['start']}"
    grid: dict[str, Any] = {"backbones": ["vgg16"], "seeds": [0]}
    if own.get("unit"):
        grid["sets"] = [{"batch_size": 8, "head_rate": 1e-3, "unit1_rate": 1e-4}]
    return own | {
        "name": f"masses: {name}",
        "data": {"name": "CBIS-DDSM masses, 800 px", "root": str(data)},
        "images": {"height": 400, "width": 400},
        "training": training,
        "grid": grid,
        "evaluation": {"randomisation_samples": 0, "flips": False},
    }


def rows(query: LiteralString, name: str) -> pl.DataFrame:
    """What a query has of a study."""
    with make_engine().connect() as connection:
        return frame(connection, query, study=f"masses: {name}")


def auc(found: pl.DataFrame, clusters: Clusters) -> Score:
    """Of malignant against benign."""
    truth = (found["label"].str.to_uppercase() == "MALIGNANT").to_numpy()
    return area(found["malignant"].to_numpy().astype(np.float32), truth, np.ones(len(truth), np.bool_), clusters)


def lift(found: pl.DataFrame, clusters: Clusters) -> Score:
    """Mean over the samples that have one."""
    values = found["lift"].cast(pl.Float64).fill_null(np.nan).to_numpy()[:, None]
    known = ~np.isnan(values)
    resampled = ratios(values, known, clusters)[:, 0]
    return Score(float(values[known].mean()), resampled, int(known.sum()), int(clusters.patients(known)[0]))


def compared(query: LiteralString, names: list[str], kind: str) -> None:
    """Print the AUC of every study, of films also the lift, and every paired difference over what all have."""
    given = {name: rows(query, name) for name in names}
    common = set.intersection(*(set(found["key"]) for found in given.values()))
    given = {name: found.filter(pl.col("key").is_in(list(common))).sort("key") for name, found in given.items()}
    first = next(iter(given.values()))
    patients = first["patient"].to_numpy().astype(np.str_)
    clusters = draw(patients, RESAMPLES, np.random.default_rng(0))
    print(f"{len(first)} {kind} of {len(np.unique(patients))} patients")
    for measure in [auc] + [lift] * ("lift" in first.columns):
        scores = {name: measure(found, clusters) for name, found in given.items()}
        for name, score in scores.items():
            print(f"  {measure.__name__}, {name}: {said(score, measure is lift)}")
        for one, other in combinations(scores, 2):
            print(
                f"  {measure.__name__}, {one} minus {other}: {said(scores[one].minus(scores[other]), measure is lift)}"
            )


def said(score: Score, unbounded: bool) -> str:
    """Value and interval; a lift may be more than 1."""
    if not unbounded:
        return shown(score)
    low, high = np.nanquantile(score.resampled, [0.025, 0.975])
    return f"{score.value:.2f} ({low:.2f} to {high:.2f})"


def main() -> None:
    """Train, evaluate, print."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0] if __doc__ else None)
    parser.add_argument("--weights", type=Path, required=True, help="VGG16's convolutions, as torchvision names them")
    parser.add_argument("--data", type=Path, default=DATA)
    parser.add_argument("--studies", nargs="+", choices=list(STUDIES), default=list(STUDIES))
    options = parser.parse_args()
    if not options.data.is_dir():
        raise SystemExit(f"{options.data} is not there: name the folder of masses by --data")
    for name in options.studies:
        trained("sound", configured(name, options.data.resolve(), options.weights.resolve()), evaluate=True)
    for name in options.studies:
        print(name)
        for score, method, policy, value, low, high, n in rows(SCORES, name).rows():
            bounds = "" if low is None else f" ({low:.3f} to {high:.3f})"
            print(f"  {' '.join(filter(None, (score, method, policy)))}: {value:.3f}{bounds}, n {n}")
        decided(f"masses: {name}")
    films = [name for name in options.studies if STUDIES[name].get("unit") == "image"]
    if films:
        compared(SAMPLES, films, "films")
    compared(BREASTS, options.studies, "breasts with both views")


if __name__ == "__main__":
    main()
