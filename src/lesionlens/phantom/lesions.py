"""Lesions and markers drawn into a breast's pixels, lesions with the annotation a radiologist would have traced.

Contrast and lengths follow a lesion's box side in pixels, so that a phantom looks the same at any size.
"""

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from lesionlens.datasets.case_files import Kind, Pathology
from lesionlens.phantom.anatomy import Breast, Field
from lesionlens.phantom.plan import Finding
from lesionlens.records import Box

NEAR_BORDER = 0.06  # proportion of lesions that may reach the skin or the image border
LOOSE = 1.3  # radius of the annotation over that of the group: calcifications are annotated loosely
EXTENT = 1 / LOOSE
AWAY = 0.8  # distance of a marker from the lesion's centre, in box sides
ARM = 0.1  # half its size, in box sides


@dataclass(frozen=True, slots=True)
class Place:
    """Centre (pixels) and half the box side (pixels) of a lesion."""

    x: float
    y: float
    radius: float


def choose_place(breast: Breast, size: float, taken: tuple[Place, ...], rng: np.random.Generator) -> Place:
    """A place inside the breast for a lesion of `size` (fraction of the width), clear of those `taken`."""
    height, width = breast.pixels.shape
    radius = max(size * width / 2, 4.0)
    step = max(1, width // 112)
    depth = breast.depth[::step, ::step]
    y, x = (np.arange(n, dtype=np.float32) * step for n in depth.shape)
    border = np.minimum(np.minimum(x, width - 1 - x)[None, :], np.minimum(y, height - 1 - y)[:, None])
    room = np.minimum(depth * width, border)
    need = 0.5 if rng.random() < NEAR_BORDER else 1.35
    for place in taken:
        apart = np.hypot(x[None, :] - place.x, y[:, None] - place.y) - 1.3 * place.radius
        room = np.minimum(room, apart)
    while not (room >= need * radius).any():
        need *= 0.8
        if need < 0.05:
            raise ValueError(f"phantom of {width} x {height} pixels has no room for a lesion of radius {radius:.0f}")
    candidates = np.flatnonzero(room >= need * radius)
    if need < 0.6:
        candidates = candidates[room.flat[candidates] < radius]
    if not len(candidates):
        candidates = np.flatnonzero(room >= need * radius)
    row, col = np.unravel_index(int(rng.choice(candidates)), room.shape)
    return Place(float(x[col]), float(y[row]), radius)


def draw_lesion(
    breast: Breast, place: Place, finding: Finding, kind: Kind, pathology: Pathology, rng: np.random.Generator
) -> NDArray[np.bool_]:
    """Add the lesion to the breast's pixels; the annotation, bool [height, width], inside the breast."""
    height, width = breast.pixels.shape
    reach = 2.4 * place.radius
    box = Box(
        max(int(place.x - reach), 0),
        max(int(place.y - reach), 0),
        min(int(place.x + reach) + 1, width),
        min(int(place.y + reach) + 1, height),
    )
    x = (np.arange(box.x0, box.x1, dtype=np.float32) - place.x)[None, :] / place.radius
    y = (np.arange(box.y0, box.y1, dtype=np.float32) - place.y)[:, None] / place.radius
    window = (slice(box.y0, box.y1), slice(box.x0, box.x1))
    strength = 0.7 + 0.08 * finding.subtlety
    if kind == "mass":
        light, traced = _mass(x, y, finding, rng)
    else:
        light, traced = _calcifications(x, y, place.radius, finding, pathology, rng)
    inside = breast.depth[window] > 0
    breast.pixels[window] += np.where(inside, light * strength, 0)
    annotation = np.zeros((height, width), np.bool_)
    annotation[window] = traced & inside
    return annotation


def _mass(x: Field, y: Field, finding: Finding, rng: np.random.Generator) -> tuple[Field, NDArray[np.bool_]]:
    """Light and annotation of a mass of radius 1 at the origin."""
    distance = np.hypot(x, y)
    angle = np.arctan2(y, x) + rng.uniform(0, 2 * np.pi)
    if "SPICULATED" in finding.words[1]:
        wave = sum(rng.normal(0, 0.16 / k**0.5) * np.cos(k * angle + rng.uniform(0, 6.3)) for k in range(2, 9))
        edge = 0.62 * np.clip(1 + wave, 0.6, 1.45)
        core = 1 / (1 + np.exp(np.clip((distance / edge - 1) / 0.14, -30, 30)))
        haze = 0.05 * np.exp(-((distance / 0.9) ** 2))
        light = haze + 0.17 * core * (1.15 - 0.45 * distance / edge) + 0.13 * _spicules(distance, angle, edge, rng)
        traced = distance < edge * 1.25 * (1 + 0.06 * np.cos(rng.integers(9, 15) * angle))
        return light.astype(np.float32), traced
    ratio = 1.0 if finding.words[0] == "ROUND" else rng.uniform(0.62, 0.85)
    edge = ratio / np.sqrt((ratio * np.cos(angle)) ** 2 + np.sin(angle) ** 2)
    if finding.words[0] == "LOBULATED":
        edge = edge * (1 + rng.uniform(0.05, 0.1) * np.cos(int(rng.integers(3, 5)) * angle + rng.uniform(0, 6.3)))
    near = distance / (0.93 * edge)
    if finding.words[1] == "ILL_DEFINED":
        return (0.15 / (1 + np.exp(np.clip((near - 0.8) / 0.22, -30, 30)))).astype(np.float32), near < 1.08
    blur = 0.11 if "OBSCURED" in finding.words[1] else 0.055
    dome = np.sqrt(np.clip(1 - near * near, 0, 1))
    light = (0.06 + 0.11 * dome) / (1 + np.exp(np.clip((near - 1) / blur, -30, 30)))
    light -= 0.025 * np.exp(-(((near - 1.16) / 0.07) ** 2))  # a thin dark halo around a smooth mass
    if finding.words[0] == "LYMPH_NODE":
        light -= 0.1 * np.exp(-(((x - 0.3) ** 2 + (y - 0.1) ** 2) / 0.12))  # fatty hilum
    if finding.words[0] == "ASYMMETRIC_BREAST_TISSUE":
        light = 0.1 * np.exp(-(near**2))
    return light.astype(np.float32), near < 1.08


def _spicules(distance: Field, angle: Field, edge: Field, rng: np.random.Generator) -> Field:
    """Thin tapering lines that radiate from an irregular mass, in [0, 1]."""
    light = np.zeros_like(distance)
    for direction in rng.uniform(0, 2 * np.pi, int(rng.integers(16, 27))):
        length, bend, width = rng.uniform(0.4, 1.6), rng.uniform(-0.5, 0.5), rng.uniform(0.022, 0.05)
        bright = rng.uniform(0.45, 1.0)
        along = distance - 0.5
        across = (angle - direction - bend * along + np.pi) % (2 * np.pi) - np.pi
        taper = np.clip(1 - along / length, 0, 1) * np.clip(along / 0.15, 0, 1)
        line = bright * taper * np.exp(-((across * distance / (width * (0.35 + taper))) ** 2))
        np.maximum(light, line, out=light)
    return light


class Grain(NamedTuple):
    """One calcification; lengths in units of the lesion's radius, `turn` in radians."""

    x: float
    y: float
    half: float
    long: float
    turn: float
    hollow: bool = False


def _calcifications(
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


def marker_place(box: Box, height: int, width: int, rng: np.random.Generator) -> tuple[float, float]:
    """Centre (x, y) in pixels of a marker beside `box`, inside the image wherever one of the four sides has room."""
    x, y = (box.x0 + box.x1) / 2, (box.y0 + box.y1) / 2
    aside = rng.uniform(-0.3, 0.3)
    sides = np.array([(AWAY, aside), (-AWAY, aside), (aside, AWAY), (aside, -AWAY)])[rng.permutation(4)]
    arm = ARM * min(box.width, box.height) + 1
    places = [(x + dx * box.width, y + dy * box.height) for dx, dy in sides]
    fits = [arm <= px < width - arm and arm <= py < height - arm for px, py in places]
    return places[fits.index(True) if any(fits) else 0]


def draw_marker(pixels: NDArray[np.float32], box: Box, centre: tuple[float, float]) -> None:
    """Draw a cross at full brightness into `pixels` (float32 [height, width]), in place."""
    height, width = pixels.shape
    arm = max(ARM * min(box.width, box.height), 2.0)
    x0, y0 = max(int(centre[0] - arm), 0), max(int(centre[1] - arm), 0)
    x1, y1 = min(int(centre[0] + arm) + 2, width), min(int(centre[1] + arm) + 2, height)
    x = np.abs(np.arange(x0, x1) - centre[0])[None, :]
    y = np.abs(np.arange(y0, y1) - centre[1])[:, None]
    thick = max(arm / 3, 0.8)
    cross = ((x <= thick) & (y <= arm)) | ((y <= thick) & (x <= arm))
    pixels[y0:y1, x0:x1][cross] = 1.0
