"""Breasts as samples: which two films are one, and how they lie in it, the CC above the MLO."""

from collections import defaultdict
from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace

import numpy as np

from lesionlens.config.data import FILM_SCALE
from lesionlens.records import Exclusion, Image, Sample, ShownLesion
from lesionlens.samples.cutting import Item
from lesionlens.samples.films.cutting import FilmJob, cut_film

VIEWS = ("CC", "MLO")


def pairs(images: Sequence[Image], lesions: dict[str, list[str]]) -> tuple[list[tuple[Image, Image]], list[Exclusion]]:
    """The breasts that both views show, and why the other films are of none: one exclusion for each of their lesions.

    lesions: keys by image. `no_laterality`: side or view is not known, or it is another view; `single_view`: the
    breast's other view is missing; `another_of_view`: of several films of one view the first by name is taken.
    """
    views: dict[tuple[str, str], dict[str, list[Image]]] = defaultdict(lambda: defaultdict(list))
    left_out: list[Exclusion] = []

    def out(image: Image, reason: str, detail: str) -> None:
        keys: Collection[str | None] = lesions.get(image.key) or [None]
        left_out.extend(Exclusion(image.key, key, reason, detail) for key in keys)

    for image in images:
        if image.laterality is None or image.view not in VIEWS:
            out(image, "no_laterality", f"side {image.laterality or 'unknown'}, view {image.view or 'unknown'}")
        else:
            views[image.patient, image.laterality][image.view].append(image)
    found = []
    for of_breast in views.values():
        first = {view: sorted(of_breast[view], key=lambda image: image.key) for view in VIEWS if of_breast[view]}
        for kept, *others in first.values():
            for image in others:
                out(image, "another_of_view", f"{kept.key} stands for it")
            if len(first) < len(VIEWS):
                out(kept, "single_view", f"{kept.patient} {kept.laterality}: only its {kept.view}")
        if len(first) == len(VIEWS):
            found.append((first["CC"][0], first["MLO"][0]))
    return found, left_out


@dataclass(frozen=True, slots=True)
class BreastJob:
    """Both films of a breast."""

    films: tuple[FilmJob, FilmJob]


def cut_breast(job: BreastJob) -> list[Item]:
    """What `cut_film` gives of both films, their samples joined to one; where one has none, the other has a reason."""
    items = [cut_film(film) for film in job.films]
    cut = [next((item for item in found if isinstance(item, Sample)), None) for found in items]
    rest: list[Item] = [item for found in items for item in found if not isinstance(item, Sample)]
    cc, mlo = cut
    if cc is not None and mlo is not None:
        return [*rest, joined(cc, mlo)]
    for film, sample in zip(job.films, cut, strict=True):
        if sample is not None:
            why = "the other view gave no sample"
            rest += [Exclusion(film.image.key, lesion.key, "single_view", why) for lesion in film.lesions]
    return rest


def joined(cc: Sample, mlo: Sample) -> Sample:
    """One sample of two films of equal size, the first above the second; malignant where one of them is.

    Its annotation is that of the films of its class; the record names it by the first of these, whose window and lesion
    box are in that film's pixels.
    """
    label = max(cc.label, mlo.label)  # BENIGN < MALIGNANT
    own = [film for film in (cc, mlo) if film.label == label and film.mask is not None]
    first = own[0] if own else cc
    height, width = cc.pixels.shape
    empty = np.zeros((height // FILM_SCALE, width // FILM_SCALE), dtype=np.bool_)
    masks = [film.mask if film in own and film.mask is not None else empty for film in (cc, mlo)]
    below = tuple(ShownLesion(s.key, (s.box[0], s.box[1] + height, s.box[2], s.box[3] + height)) for s in mlo.lesions)
    assert cc.breast is not None and mlo.breast is not None
    return replace(
        first,
        key=f"{cc.key} and {mlo.key}",
        label=label,
        mask_fraction=sum(film.mask_fraction or 0.0 for film in own) / 2 if own else None,
        pixels=np.concatenate([cc.pixels, mlo.pixels]),
        mask=np.concatenate(masks) if own else None,
        breast=np.concatenate([cc.breast, mlo.breast]),
        lesions=(*cc.lesions, *below),
    )
