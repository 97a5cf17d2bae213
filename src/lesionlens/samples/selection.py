"""Which lesions become samples, and under which class."""

from dataclasses import dataclass
from typing import Literal

from lesionlens.records import DatasetIndex, Exclusion, Image, Lesion


@dataclass(frozen=True, slots=True)
class Choice:
    """A lesion that is to become a sample of class `label`, which may differ from the lesion's own."""

    lesion: Lesion
    image: Image
    label: str


def view_key(image: Image) -> tuple[str, ...]:
    """(patient, laterality, view) where both are known: one mammogram may be in two case files under two keys."""
    if image.laterality is None or image.view is None:
        return (image.key,)
    return image.patient, image.laterality, image.view


def select(index: DatasetIndex, per: Literal["image", "lesion"]) -> tuple[tuple[Choice, ...], tuple[Exclusion, ...]]:
    """Chosen lesions in index order, and an exclusion for every other lesion and every image that can't be used.

    per lesion: every lesion of a target class, under its own class.

    per image, the study's rule: within an official split, the first row of a (patient, laterality) names the class of
    all its views; of the rows of a view the last one gives the patch. So a lesion may come under a class that is not
    its own, and one without a target class may come at all.
    """
    images = {image.key: image for image in index.images}
    chosen, left_out = _per_image(index, images) if per == "image" else _per_lesion(index, images)
    broken = {exclusion.lesion_key: exclusion for exclusion in index.exclusions}
    usable = tuple(choice for choice in chosen if choice.lesion.key not in broken)
    left_out += [broken[choice.lesion.key] for choice in chosen if choice.lesion.key in broken]
    left_out += [exclusion for exclusion in index.exclusions if exclusion.lesion_key is None]
    return usable, tuple(left_out)


def _per_lesion(index: DatasetIndex, images: dict[str, Image]) -> tuple[list[Choice], list[Exclusion]]:
    chosen, left_out = [], []
    for lesion in index.lesions:
        if lesion.label is None:
            left_out.append(Exclusion(lesion.image_key, lesion.key, "no_target_class", lesion.pathology or ""))
        else:
            chosen.append(Choice(lesion, images[lesion.image_key], lesion.label))
    return chosen, left_out


def _per_image(index: DatasetIndex, images: dict[str, Image]) -> tuple[list[Choice], list[Exclusion]]:
    first: dict[tuple[str, ...], Lesion] = {}
    last: dict[tuple[str, ...], Lesion] = {}
    for lesion in index.lesions:
        image = images[lesion.image_key]
        first.setdefault(_breast(lesion, image), lesion)
        last[_view(lesion, image)] = lesion
    chosen, left_out = [], []
    for lesion in index.lesions:
        image = images[lesion.image_key]
        label, winner = first[_breast(lesion, image)].label, last[_view(lesion, image)]
        if lesion.label is None and (label is None or winner is not lesion):
            left_out.append(Exclusion(image.key, lesion.key, "no_target_class", lesion.pathology or ""))
        elif label is None:
            names = first[_breast(lesion, image)].key
            left_out.append(Exclusion(image.key, lesion.key, "class_of_first_row", f"{names} names no target class"))
        elif winner is not lesion:
            left_out.append(Exclusion(image.key, lesion.key, "overwritten", f"by {winner.key}"))
        else:
            chosen.append(Choice(lesion, image, label))
    return chosen, left_out


def _breast(lesion: Lesion, image: Image) -> tuple[str, ...]:
    return (str(lesion.official_split), *view_key(image)[:2])


def _view(lesion: Lesion, image: Image) -> tuple[str, ...]:
    return (str(lesion.official_split), *view_key(image))
