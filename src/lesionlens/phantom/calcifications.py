"""Calcifications: few, round and coarse where benign; many, fine, clustered or branching where malignant."""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from lesionlens.datasets.case_files import Pathology
from lesionlens.phantom.anatomy import Field
from lesionlens.phantom.plan import Finding

LOOSE = 1.3  # radius of the annotation over that of the group: calcifications are annotated loosely
EXTENT = 1 / LOOSE


class Grain(NamedTuple):
    """One calcification; lengths in units of the lesion's radius, `turn` in radians."""

    x: float
    y: float
    half: float
    long: float
    turn: float
    hollow: bool = False


def draw_calcifications(
    x: Field, y: Field, radius: float, finding: Finding, pathology: Pathology, rng: np.random.Generator
) -> tuple[Field, NDArray[np.bool_]]:
    """Light of a group within radius 1 / LOOSE of the origin, and its annotation of radius about 1.

    x float32 [1, w], y float32 [h, 1] in units of `radius` (pixels); returns float32 and bool [h, w].
    """
    light = np.zeros(np.broadcast_shapes(x.shape, y.shape), np.float32)
    least = 0.75 / radius  # no grain thinner than about a pixel and a half
    for cx, cy, half, long, turn, hollow in _grains(finding.words[0], pathology, rng):
        half = max(half, least)
        u = (x - cx) * np.cos(turn) + (y - cy) * np.sin(turn)
        v = (y - cy) * np.cos(turn) - (x - cx) * np.sin(turn)
        near = np.hypot(u / (half * long), v / half)
        grain = np.exp(-(near**4))
        if hollow:
            grain -= 0.6 * np.exp(-((near / 0.55) ** 2))
        np.maximum(light, grain * rng.uniform(0.7, 1.0), out=light)
    angle = np.arctan2(y, x)
    wave = sum(rng.normal(0, 0.05) * np.cos(k * angle + rng.uniform(0, 6.3)) for k in (2, 3, 4, 5))
    haze = 0.03 * np.exp(-((np.hypot(x, y) / 0.8) ** 4)) if pathology == "MALIGNANT" else 0.0
    return light * 0.42 + haze, np.hypot(x, y) < np.clip(0.98 + wave, 0.8, 1.15)


def _grains(word: str, pathology: Pathology, rng: np.random.Generator) -> list[Grain]:
    if word == "VASCULAR":
        return _vascular(rng)
    if pathology != "MALIGNANT":
        return _coarse("LUCENT" in word, rng)
    return _branching(rng) if "LINEAR" in word else _clustered(rng)


def _coarse(lucent: bool, rng: np.random.Generator) -> list[Grain]:
    """Few, large and round, some with a lucent centre."""
    grains = []
    for _ in range(int(rng.integers(3, 7))):
        away, direction = EXTENT * np.sqrt(rng.uniform(0, 0.85)), rng.uniform(0, 2 * np.pi)
        hollow = lucent and bool(rng.random() < 0.7)
        half = rng.uniform(0.11, 0.2) * (1.15 if hollow else 1.0)
        x, y = away * np.cos(direction), away * np.sin(direction)
        grains.append(Grain(x, y, half, rng.uniform(1.0, 1.35), rng.uniform(0, np.pi), hollow))
    return grains


def _vascular(rng: np.random.Generator) -> list[Grain]:
    """Two parallel tracks, the calcified walls of an artery."""
    turn = rng.uniform(0, np.pi)
    cos, sin = np.cos(turn), np.sin(turn)
    walls = [(t, side) for t in np.linspace(-0.7, 0.7, 9) for side in (-0.09, 0.09)]
    return [Grain(t * cos - s * sin, t * sin + s * cos, 0.045, 1.8, turn) for t, s in walls]


def _clustered(rng: np.random.Generator) -> list[Grain]:
    """Many fine grains of differing shape, denser in the middle."""
    grains = []
    for _ in range(int(rng.integers(26, 48))):
        x, y = np.clip(rng.normal(0, 0.38, 2), -1, 1) * EXTENT
        grains.append(Grain(x, y, rng.uniform(0.02, 0.05), rng.uniform(1.0, 2.6), rng.uniform(0, np.pi)))
    return grains


def _branching(rng: np.random.Generator) -> list[Grain]:
    """Fine short rods along a duct and its branches."""
    trunk = rng.uniform(0, 2 * np.pi)
    grains = []
    for branch in range(int(rng.integers(2, 5))):
        turn = trunk + (0.0 if branch == 0 else rng.choice((-1, 1)) * rng.uniform(0.35, 0.9))
        start = -0.95 if branch == 0 else rng.uniform(-0.4, 0.2)
        x0, y0 = start * np.cos(trunk), start * np.sin(trunk)
        for t in np.arange(0, 1.9 if branch == 0 else 0.85, 0.11):
            x, y = x0 + t * np.cos(turn) + rng.normal(0, 0.03), y0 + t * np.sin(turn) + rng.normal(0, 0.03)
            half, long, bend = rng.uniform(0.022, 0.042), rng.uniform(1.2, 3.0), rng.normal(0, 0.2)
            if np.hypot(x, y) < 1:
                grains.append(Grain(x * EXTENT, y * EXTENT, half, long, turn + bend))
    return grains
