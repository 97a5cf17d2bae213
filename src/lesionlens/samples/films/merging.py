"""An index of films: one image per mammogram, whichever files hold it, labelled by its lesions."""

from collections import defaultdict
from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace

from lesionlens.config.study import StudyConfig
from lesionlens.identity import digest
from lesionlens.records import DatasetIndex, Exclusion, Image, Label, Lesion

BENIGN, MALIGNANT = "BENIGN", "MALIGNANT"
LABELS = (
    Label(BENIGN, "no malignant lesion", "benign", 0, True),
    Label(MALIGNANT, "malignant lesion", "malignant", 1, True),
)
SAME_FILM = ("cbis_kaggle", "cbis_dicom", "phantom")
"""Kinds of data sets in which images of one patient, side and view are one film. Elsewhere they are exposures."""


@dataclass(frozen=True, slots=True)
class Films:
    """A data set whose images are films. twins: by film other images of it, whose lesions it has taken over.

    crossing: films that the official splits hold on both sides.
    """

    index: DatasetIndex
    twins: dict[str, tuple[Image, ...]]
    crossing: tuple[str, ...]

    def notes(self) -> list[Exclusion]:
        """What a reader should know of films that are two images of the data set."""
        found = []
        for key, others in self.twins.items():
            names = ", ".join(image.key for image in others)
            found.append(Exclusion(key, None, "same_film", f"also {names}; one sample with the lesions of all"))
        for key in self.crossing:
            found.append(Exclusion(key, None, "both_splits", "in the official training and test split: tested"))
        return found


def films(given: DatasetIndex, positive: Collection[str] = ()) -> Films:
    """The data set with one image per film and the two classes of LABELS.

    A lesion is malignant by the classes `positive`, without any by its pathology or class, which begin with MALIGNANT
    in any case. One with neither keeps no class. Of images that are one film the first stands for it, with the lesions
    of all; it is a test image if one of them is. ValueError where no lesion is malignant.
    """
    first: dict[tuple[str, ...], Image] = {}
    of_image: dict[str, str] = {}
    others: dict[str, list[Image]] = defaultdict(list)
    for image in given.images:
        kept = first.setdefault(image.view_key if given.kind in SAME_FILM else (image.key,), image)
        of_image[image.key] = kept.key
        if kept is not image:
            others[kept.key].append(image)
    splits = {kept.key: {kept.official_split, *(i.official_split for i in others[kept.key])} for kept in first.values()}
    images = tuple(
        replace(kept, official_split="test") if "test" in splits[kept.key] else kept for kept in first.values()
    )
    lesions = tuple(
        replace(
            lesion,
            image_key=of_image[lesion.image_key],
            label=_label(lesion, positive),
            official_split="test" if "test" in splits[of_image[lesion.image_key]] else lesion.official_split,
        )
        for lesion in given.lesions
    )
    if not any(lesion.label == MALIGNANT for lesion in lesions):
        raise ValueError(
            f"{given.name}: films are malignant or not, and no lesion is malignant by its class or pathology: name the "
            "classes that are in data.positive"
        )
    exclusions = tuple(replace(e, image_key=of_image[e.image_key]) for e in given.exclusions)
    identity = digest("films", given.digest, sorted(positive))
    index = replace(given, digest=identity, labels=LABELS, images=images, lesions=lesions, exclusions=exclusions)
    crossing = tuple(key for key, found in splits.items() if len(found - {None}) > 1)
    return Films(index, {key: tuple(found) for key, found in others.items() if found}, crossing)


def sampled(index: DatasetIndex, study: StudyConfig) -> DatasetIndex:
    """The index that a study's samples are named by: of films, or as it is for patches."""
    return index if study.unit == "patch" else films(index, study.data.positive).index


def _label(lesion: Lesion, positive: Collection[str]) -> str | None:
    if positive:
        return None if lesion.label is None else MALIGNANT if lesion.label in positive else BENIGN
    words = (lesion.pathology or lesion.label or "").upper()
    return MALIGNANT if words.startswith(MALIGNANT) else BENIGN if words else None


def label_of(lesions: Sequence[Lesion]) -> str:
    """The class of a film: malignant by any of its lesions."""
    return MALIGNANT if any(lesion.label == MALIGNANT for lesion in lesions) else BENIGN
