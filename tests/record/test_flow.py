"""What is listed, excluded and included, and how often a test split was evaluated."""

import polars as pl
from sqlalchemy import Connection

from db import studies
from db.bulk import frame
from lesionlens.config.training import HyperSet, RunConfig
from lesionlens.identity import digest
from lesionlens.records import SPLITS, Box, DatasetIndex, Exclusion, Image, Lesion, Sample
from lesionlens.reporting.formatting import EXCLUDED
from tests.record.makers import (
    CONFIG,
    IDENTITY,
    LABELS,
    SIZE,
    Filled,
    evaluate_run,
    make_index,
    make_patches,
    save_samples,
)


def flow(connection: Connection, study: int) -> pl.DataFrame:
    return frame(connection, "SELECT * FROM flow_counts").filter(study_id=study)


def save(connection: Connection, sample_set: int, name: str = "another", seed: int = 0) -> tuple[int, int]:
    """A study with one run; their ids."""
    config = CONFIG.model_dump(mode="json") | {"name": name}
    made = studies.save_study(connection, digest(name), name, config, IDENTITY, sample_set, {})
    run = RunConfig(backbone="resnet18", strategy="gradual", seed=seed, **HyperSet().model_dump())
    return made, studies.save_run(connection, made, digest(name, seed), sample_set, run, CONFIG.training, run.strategy)


def of_every_kind() -> tuple[DatasetIndex, list[Sample | Exclusion]]:
    """A lesion for every reason to exclude one, then a lesion in each split, the first one cut twice; a background."""
    reasons = list(EXCLUDED)
    keys = [*reasons, *SPLITS]
    images = tuple(Image(f"image {key}", f"P {n // 2}", f"{n}.jpg") for n, key in enumerate([*keys, "free"]))
    lesions = tuple(Lesion(f"lesion {key}", f"image {key}", "mass", "BENIGN", "BM", "m.png") for key in keys)
    index = DatasetIndex("kinds", "manifest", digest("kinds"), LABELS, images, lesions)
    pattern = make_patches()[1]
    items: list[Sample | Exclusion] = [Exclusion(f"image {code}", f"lesion {code}", code) for code in reasons]
    items += [Exclusion(f"image {reasons[0]}", None, "image_turned"), Exclusion("image train", None, "same_pixels")]
    for n, split in enumerate((*SPLITS, "train")):
        items.append(
            Sample(f"lesion {split}#{n}", "BM", f"image {split}", f"lesion {split}", "P", split, Box(10, 20, 110, 120),
                   Box(30, 40, 60, 70), 0.1, pattern.pixels, pattern.mask)
        )  # fmt: skip
    free = Sample("free@1", "B", "image free", None, "P", "test", Box(0, 0, 9, 9), None, None, pattern.pixels, None)
    return index, [*items, free]


def test_every_lesion_is_in_a_split_or_has_one_reason(connection: Connection) -> None:
    index, items = of_every_kind()
    sample_set = save_samples(connection, index, digest("kinds"), SIZE, items)
    study, _ = save(connection, sample_set)
    found = flow(connection, study)
    excluded = found.filter(stage="excluded")
    assert dict(excluded.select("reason", "lesions").rows()) == dict.fromkeys(EXCLUDED, 1)
    parts = found.filter(pl.col("split").is_not_null()).sort("split")
    assert parts.select("split", "images", "lesions", "samples").rows() == [
        ("test", 2, 1, 2), ("train", 1, 1, 2), ("validation", 1, 1, 1),
    ]  # fmt: skip
    (listed,) = found.filter(stage="listed").iter_rows(named=True)
    assert (listed["images"], listed["lesions"]) == (len(index.images), len(index.lesions))
    assert listed["patients"] == len({image.patient for image in index.images})
    assert listed["lesions"] == excluded["lesions"].sum() + parts["lesions"].sum()
    whole = found.filter(pl.col("split").is_null(), stage="included")
    assert whole.select("images", "lesions", "samples").rows() == [(4, 3, 5)]


def test_a_study_without_exclusions_excludes_nothing(connection: Connection) -> None:
    index = make_index()
    index = DatasetIndex("whole", "manifest", digest("whole"), LABELS, index.images, index.lesions[:-1])
    study, _ = save(connection, save_samples(connection, index, digest("whole"), SIZE, make_patches()))
    found = flow(connection, study)
    assert found.filter(stage="excluded").is_empty()
    (listed,), (whole,) = (
        found.filter(pl.col("split").is_null(), stage=stage)["lesions"] for stage in ("listed", "included")
    )
    assert listed == whole == len(index.lesions)


def test_evaluations_on_one_test_split_are_counted_over_all_studies(connection: Connection, filled: Filled) -> None:
    def uses(study: int) -> tuple[int, int, int]:
        found = frame(connection, "SELECT * FROM test_uses").filter(study_id=study)
        return found.select("runs", "evaluations", "studies").row(0)

    assert uses(filled.study) == (2, 2, 1)
    # the same test lesions, cut anew and without their background
    patches = [patch for patch in make_patches() if patch.lesion_key]
    again = save_samples(connection, make_index(), digest("cut anew"), SIZE, patches)
    study, run = save(connection, again)
    assert uses(study) == uses(filled.study) == (2, 2, 1), "a run that is not evaluated yet does not count"
    evaluate_run(connection, run)
    assert uses(study) == uses(filled.study) == (3, 3, 2)
    # another data set, though its lesions have the same names
    elsewhere = save_samples(connection, make_index(15), digest("elsewhere"), SIZE, make_patches(15))
    study, run = save(connection, elsewhere, "elsewhere")
    evaluate_run(connection, run)
    assert uses(study) == (1, 1, 1) and uses(filled.study) == (3, 3, 2)
    # other lesions of the same data set for test
    others = save_samples(connection, make_index(), digest("other test"), SIZE, make_patches()[:9])
    study, run = save(connection, others, "other test")
    evaluate_run(connection, run)
    assert uses(study) == (1, 1, 1) and uses(filled.study) == (3, 3, 2)
