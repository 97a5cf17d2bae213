"""Lesions and marks on films, drawn by a seed."""

import numpy as np

from lesionlens.detection.marks import NO_LABEL, Lesions, Marks

SIDE = 100.0


def squares(places: np.ndarray, side: float) -> np.ndarray:
    """Boxes [k, 4] around centres [k, 2]."""
    return np.concatenate([places - side / 2, places + side / 2], axis=1)


def drawn_lesions(films: int, most: int, seed: int, side: float = 20.0) -> Lesions:
    """0 to `most` lesions on each film of 100 x 100, of two classes; they may overlap."""
    generator = np.random.default_rng(seed)
    film = np.repeat(np.arange(films), generator.integers(0, most + 1, films)).astype(np.int64)
    places = generator.uniform(side / 2, SIDE - side / 2, (len(film), 2))
    return Lesions(film, squares(places, side), generator.integers(0, 2, len(film)).astype(np.int64))


def drawn_marks(films: int, each: int, seed: int, levels: int | None = None, side: float = 20.0) -> Marks:
    """Marks at random places with random scores; `levels`: of so many values, so that they tie."""
    generator = np.random.default_rng(seed)
    film = np.repeat(np.arange(films), each).astype(np.int64)
    scores = generator.uniform(0, 1, len(film))
    if levels is not None:
        scores = np.round(scores * levels) / levels
    places = generator.uniform(0, SIDE, (len(film), 2))
    return Marks(film, squares(places, side), scores, np.full(len(film), NO_LABEL, dtype=np.int64))


def marks_of(rows: list[tuple[int, tuple[float, float, float, float], float]], label: int = NO_LABEL) -> Marks:
    """Marks from (film, box, score)."""
    return Marks(
        np.array([row[0] for row in rows], dtype=np.int64),
        np.array([row[1] for row in rows], dtype=np.float64).reshape(-1, 4),
        np.array([row[2] for row in rows], dtype=np.float64),
        np.full(len(rows), label, dtype=np.int64),
    )


def lesions_of(rows: list[tuple[int, tuple[float, float, float, float]]]) -> Lesions:
    """Lesions of class 0 from (film, box)."""
    return Lesions(
        np.array([row[0] for row in rows], dtype=np.int64),
        np.array([row[1] for row in rows], dtype=np.float64).reshape(-1, 4),
        np.zeros(len(rows), dtype=np.int64),
    )


def on_every(lesions: Lesions) -> Marks:
    """One mark on each annotation."""
    return Marks(lesions.film, lesions.boxes, np.linspace(0.1, 0.9, len(lesions.film)), lesions.labels)


def joined(first: Marks, second: Marks) -> Marks:
    """Both methods' marks as one method's."""
    names = ("film", "boxes", "scores", "labels")
    return Marks(*(np.concatenate([getattr(first, name), getattr(second, name)]) for name in names))
