"""Marks, "a lesion lies here, with this score", of a detector or of a map's peaks, and the lesions they lie on."""

from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np
import polars as pl
import torch
from numpy.typing import NDArray
from skimage.feature import peak_local_max
from torchvision.ops import batched_nms

Criterion = Literal["centre", "iou_0.2", "iou_0.5"]
CRITERIA: tuple[Criterion, ...] = get_args(Criterion)
"""When a mark lies on a lesion: its centre in the lesion's box, or box and box overlap with at least that IoU."""

NO_LABEL = -1
PEAKS = 10
"""Peaks taken of one map at most."""
OVERLAP = 0.3
"""IoU above which two marks are of one place."""


@dataclass(frozen=True, slots=True, eq=False)
class Lesions:
    """Annotated lesions of films.

    film int64 [m]: position of the film; boxes float64 [m, 4]: x0, y0, x1, y1 in the film's pixels; labels int64 [m]:
    ordinals of classes.
    """

    film: NDArray[np.int64]
    boxes: NDArray[np.float64]
    labels: NDArray[np.int64]

    def of_films(self, films: NDArray[np.int64]) -> "Lesions":
        """The lesions of these films, int64 [n] without repetition; `film` is then the position in `films`."""
        position = _positions(films, self.film)
        kept = position >= 0
        return Lesions(position[kept], self.boxes[kept], self.labels[kept])

    def side(self) -> float:
        """Median over lesions of the square root of the box's area, in pixels; NaN where there are none."""
        if not len(self.boxes):
            return float("nan")
        return float(np.median(np.sqrt(_area(self.boxes))))


@dataclass(frozen=True, slots=True, eq=False)
class Marks:
    """Marks of one method on films.

    film int64 [k]: position of the film; boxes float64 [k, 4] in the film's pixels, of which the centre is the place
    marked; scores float64 [k], finite, higher is surer; labels int64 [k]: ordinals of classes, -1 for a method without.
    """

    film: NDArray[np.int64]
    boxes: NDArray[np.float64]
    scores: NDArray[np.float64]
    labels: NDArray[np.int64]

    def __post_init__(self) -> None:
        if not np.isfinite(self.scores).all() or not np.isfinite(self.boxes).all():
            raise ValueError("marks need finite scores and boxes: a score or box is NaN or infinite")

    @property
    def centres(self) -> NDArray[np.float64]:
        """x, y of every mark: float64 [k, 2]."""
        return (self.boxes[:, :2] + self.boxes[:, 2:]) / 2

    def where(self, used: NDArray[np.bool_]) -> "Marks":
        """The marks `used` bool [k], same order."""
        return Marks(self.film[used], self.boxes[used], self.scores[used], self.labels[used])

    def of_films(self, films: NDArray[np.int64]) -> "Marks":
        """The marks of these films, int64 [n] without repetition; `film` is then the position in `films`."""
        position = _positions(films, self.film)
        kept = self.where(position >= 0)
        return Marks(position[position >= 0], kept.boxes, kept.scores, kept.labels)

    def strongest(self) -> NDArray[np.bool_]:
        """Which marks are the surest at their place, whatever their class: bool [k].

        A detector marks one place once for every class. Non-maximum suppression over all classes, at an IoU of 0.3.
        """
        kept = np.zeros(len(self.scores), dtype=np.bool_)
        boxes, scores = torch.from_numpy(self.boxes), torch.from_numpy(self.scores)
        kept[batched_nms(boxes, scores, torch.from_numpy(self.film), OVERLAP).numpy()] = True
        return kept


def lesions_of(shown: pl.DataFrame, ids: NDArray[np.int64]) -> Lesions:
    """Lesions of the films `ids` int64 [n]. shown: sample_id, ordinal, x0, y0, x1, y1, one row a lesion."""
    rows, film, boxes = _rows_of(shown, ids)
    return Lesions(film, boxes, rows["ordinal"].cast(pl.Int64).to_numpy())


def marks_of(marked: pl.DataFrame, ids: NDArray[np.int64]) -> Marks:
    """Marks on the films `ids` int64 [n]. marked: sample_id, ordinal (null of a method without classes), x0, y0, x1,
    y1, score, one row a mark."""
    rows, film, boxes = _rows_of(marked, ids)
    labels = rows["ordinal"].cast(pl.Int64).fill_null(NO_LABEL).to_numpy()
    return Marks(film, boxes, rows["score"].cast(pl.Float64).to_numpy(), labels)


def _rows_of(rows: pl.DataFrame, ids: NDArray[np.int64]) -> tuple[pl.DataFrame, NDArray[np.int64], NDArray[np.float64]]:
    """The rows of these films, where in `ids` each film is, and their boxes float64 [k, 4]."""
    place = {int(key): i for i, key in enumerate(ids)}
    kept = rows.filter(pl.col("sample_id").is_in(list(place)))
    film = np.array([place[int(key)] for key in kept["sample_id"]], dtype=np.int64)
    return kept, film, kept.select("x0", "y0", "x1", "y1").cast(pl.Float64).to_numpy().reshape(-1, 4)


def _positions(films: NDArray[np.int64], wanted: NDArray[np.int64]) -> NDArray[np.int64]:
    """Where in `films` each of `wanted` is, -1 where it is not."""
    if not len(films):
        return np.full(len(wanted), -1, dtype=np.int64)
    order = np.argsort(films)
    at = order[np.searchsorted(films, wanted, sorter=order).clip(max=len(films) - 1)]
    return np.where(films[at] == wanted, at, -1)


def peaks(
    maps: NDArray[np.float32],
    side: float,
    weights: NDArray[np.float64] | None = None,
    scale: float = 1.0,
) -> Marks:
    """The local maxima of maps as marks: at most 10 a map, above 0, at least half a lesion apart.

    maps float32 [n, h, w]; side: of a typical lesion (the training split's median) in pixels of the film, which is also
    the side of every mark's box; weights float64 [n]: factors of the scores, such as the probability that the film is
    malignant; scale: film pixels per map pixel along each side. The score is the map's value at the peak times its
    weight.
    """
    if not side > 0:
        raise ValueError(f"a mark's box needs a side above 0, not {side}")
    apart = max(1, round(side / 2 / scale))
    found = [
        peak_local_max(each, apart, threshold_abs=0.0, exclude_border=False, num_peaks=PEAKS)  # type: ignore[no-untyped-call]
        for each in maps
    ]
    film = np.repeat(np.arange(len(maps), dtype=np.int64), [len(each) for each in found])
    places = np.concatenate([*found, np.zeros((0, 2), dtype=np.int64)]).astype(np.int64)
    centres = (places[:, ::-1] + 0.5) * scale
    scores = maps[film, places[:, 0], places[:, 1]].astype(np.float64)
    if weights is not None:
        scores = scores * weights[film]
    boxes = np.concatenate([centres - side / 2, centres + side / 2], axis=1)
    return Marks(film, boxes, scores, np.full(len(film), NO_LABEL, dtype=np.int64))


@dataclass(frozen=True, slots=True, eq=False)
class Matches:
    """Which mark lies on which lesion: mark and lesion int64 [p], ascending by mark.

    A mark may lie on several lesions and then finds each of them; a lesion under several marks is found once.
    """

    mark: NDArray[np.int64]
    lesion: NDArray[np.int64]

    def found(self, marks: Marks, lesions: int) -> NDArray[np.float64]:
        """The highest score of a mark on each lesion: float64 [lesions], minus infinity where none lies."""
        best = np.full(lesions, -np.inf)
        np.maximum.at(best, self.lesion, marks.scores[self.mark])
        return best

    def false(self, marks: Marks) -> NDArray[np.bool_]:
        """Marks on no lesion: bool [k]."""
        missed = np.ones(len(marks.scores), dtype=np.bool_)
        missed[self.mark] = False
        return missed


def matches(marks: Marks, lesions: Lesions, criterion: Criterion = "centre") -> Matches:
    """Every pair of a mark and a lesion of the same film that meets the criterion. A box's border is inside it."""
    mark, lesion = _pairs(marks.film, lesions.film)
    boxes = lesions.boxes[lesion]
    if criterion == "centre":
        centre = marks.centres[mark]
        met = ((centre >= boxes[:, :2]) & (centre <= boxes[:, 2:])).all(axis=1)
    else:
        met = overlap(marks.boxes[mark], boxes) >= float(criterion.removeprefix("iou_"))
    return Matches(mark[met], lesion[met])


def _pairs(first: NDArray[np.int64], second: NDArray[np.int64]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Positions of all pairs with the same film, ascending by the first."""
    order = np.argsort(second, kind="stable")
    begin = np.searchsorted(second[order], first, side="left")
    count = np.searchsorted(second[order], first, side="right") - begin
    left = np.repeat(np.arange(len(first), dtype=np.int64), count)
    within = np.arange(len(left)) - np.repeat(np.cumsum(count) - count, count)
    return left, order[np.repeat(begin, count) + within].astype(np.int64)


def overlap(first: NDArray[np.float64], second: NDArray[np.float64]) -> NDArray[np.float64]:
    """IoU of boxes [p, 4] with boxes [p, 4], pair by pair: float64 [p]; 0 where both are empty.

    >>> overlap(np.array([[0.0, 0, 2, 2]]), np.array([[1.0, 0, 3, 2]])).round(3).tolist()
    [0.333]
    """
    inner = np.concatenate([np.maximum(first[:, :2], second[:, :2]), np.minimum(first[:, 2:], second[:, 2:])], axis=1)
    shared = _area(inner)
    union = _area(first) + _area(second) - shared
    return np.divide(shared, union, out=np.zeros(len(shared)), where=union > 0)


def _area(boxes: NDArray[np.float64]) -> NDArray[np.float64]:
    area: NDArray[np.float64] = (boxes[:, 2:] - boxes[:, :2]).clip(min=0).prod(axis=1)
    return area
