"""Another data set for a model that is trained already: all of it test, everything tuned or measured carried over."""

from dataclasses import dataclass, replace

import numpy as np
import polars as pl
from numpy.typing import NDArray

from lesionlens.identity import digest
from lesionlens.records import DatasetIndex, SampleArrays


@dataclass(frozen=True, slots=True)
class Overlap:
    """What the other samples share with those of the model's own study, by the content of images.

    pictures: keys of images that are in both, sorted. patients: names, in the other set, of people with an image that
    the model was trained or tuned on; none of their samples is scored.
    """

    pictures: tuple[str, ...]
    patients: tuple[str, ...]


def all_test(index: DatasetIndex) -> DatasetIndex:
    """The same data set with every image and lesion in the test split."""
    images = tuple(replace(image, official_split="test") for image in index.images)
    return replace(index, images=images, lesions=tuple(replace(x, official_split="test") for x in index.lesions))


def require_known(index: DatasetIndex, classes: tuple[str, ...]) -> tuple[str, ...]:
    """The model's classes of which the data set has no lesion and no image; ValueError for one that it does not know.

    classes: label codes that the model was trained for.
    """
    found = {x.label for x in index.lesions} | {x.background for x in index.images}
    unknown = sorted({code for code in found if code is not None} - set(classes))
    if unknown:
        raise ValueError(
            f"{index.name}: the run was not trained for class {', '.join(unknown)}: it knows {', '.join(classes)}; "
            "name the classes alike, or leave the others out"
        )
    return tuple(code for code in classes if code not in found)


def overlap(shared: pl.DataFrame) -> Overlap:
    """From one row per shared image: key, patient (of the other set), training (whether a model learnt from it)."""
    people = shared.filter("training")["patient"].unique().sort()
    return Overlap(tuple(shared["key"].unique().sort()), tuple(people))


def carried_over(own: SampleArrays, other: SampleArrays, found: Overlap) -> SampleArrays:
    """Training and validation split of `own`, and all of `other` as test split, without the patients of the overlap.

    Classes, their order, grey statistics and the samples that thresholds are tuned on are those of `own`. ValueError
    where no sample is left.
    """
    kept = ~np.isin(other.patients, found.patients)
    if not kept.any():
        raise ValueError(
            "no sample is left to evaluate: every patient has an image that the run was trained or tuned on"
            if len(kept)
            else "no sample could be cut from the data set: table exclusion says why"
        )
    ordinals = np.array([own.classes.index(code) if code in own.classes else -1 for code in other.classes])
    used = own.splits != "test"

    def joined(mine: NDArray[np.generic], others: NDArray[np.generic]) -> NDArray[np.generic]:
        both: NDArray[np.generic] = np.concatenate([mine[used], others[kept]])[order]
        return both

    ids = np.concatenate([own.ids[used], other.ids[kept]])
    order = np.argsort(ids, kind="stable")
    tested = np.full(len(other.ids), "test", dtype=own.splits.dtype)
    return SampleArrays(
        digest("carried over", own.digest, other.digest, found.patients),
        own.classes,
        ids[order],
        joined(own.pixels, other.pixels),  # type: ignore[arg-type]
        joined(own.masks, other.masks),  # type: ignore[arg-type]
        joined(own.labels, ordinals[other.labels]),  # type: ignore[arg-type]
        joined(own.splits, tested),  # type: ignore[arg-type]
        joined(own.patients, other.patients),  # type: ignore[arg-type]
        joined(own.has_mask, other.has_mask),  # type: ignore[arg-type]
        own.groups,
        own.statistics,
    )
