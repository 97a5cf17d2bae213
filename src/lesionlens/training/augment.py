"""Augmentation: what training shows of a sample beside the sample itself.

Variants (flips, turns, warps) and lesions pasted into other surroundings are drawn once before training and have
positions behind the samples', so that frozen features are computed once, and an epoch only chooses among them. Films
are changed anew in every step instead.
"""

from dataclasses import dataclass, fields, replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn.functional import affine_grid, grid_sample
from torchvision.transforms.v2 import InterpolationMode, RandomAffine, RandomHorizontalFlip, RandomVerticalFlip

from lesionlens.config.training import Augment
from lesionlens.identity import bytes_digest, digest, generator
from lesionlens.records import SampleArrays
from lesionlens.samples.filling import grown_hulls, inpainted, pasted

PICTURES = 4
"""Pictures made of every training lesion, with surroundings of each lesion class in turn."""
CANDIDATES = 8  # drawn surroundings, of which the one whose lesion is most similar in size is taken
MARGIN = 0.1  # of a hull, in its diameters


def surroundings_pairs(samples: SampleArrays, regions: NDArray[np.bool_], seed: int) -> NDArray[np.int64]:
    """Positions int64 [k, 2] of lesion and surroundings: both training lesions, of different patients.

    regions bool [n, s, s]: what is pasted of each sample; empty where it takes no part. A lesion comes PICTURES times,
    in order; fewer where another patient's surroundings are lacking.
    """
    rows = np.flatnonzero((samples.splits == "train") & regions.any(axis=(1, 2)))
    classes, sizes = np.unique(samples.labels[rows]), np.log(regions[rows].sum(axis=(1, 2)))
    drawn, pairs = generator(seed, "surroundings"), []
    for row, size in zip(rows, sizes, strict=True):
        others = samples.patients[rows] != samples.patients[row]
        for picture in range(PICTURES):
            eligible = others & (samples.labels[rows] == classes[picture % len(classes)])
            candidates = drawn.permutation(np.flatnonzero(eligible))[:CANDIDATES]
            if len(candidates):
                pairs.append((row, rows[candidates[np.argmin(np.abs(sizes[candidates] - size))]]))
    return np.array(pairs, dtype=np.int64).reshape(-1, 2)


def with_surroundings(samples: SampleArrays, seed: int) -> tuple[SampleArrays, NDArray[np.int64]]:
    """The samples, and behind them the pasted pictures; and of which sample each picture shows the lesion, int64 [k].

    A picture has the split, label and patient of its lesion, and the annotation moved with it.
    """
    masked = np.flatnonzero((samples.splits == "train") & samples.has_mask & samples.masks.any(axis=(1, 2)))
    regions = np.zeros_like(samples.masks)
    regions[masked] = grown_hulls(samples.masks[masked], MARGIN)
    pairs = surroundings_pairs(samples, regions, seed)
    pixels, masks = [samples.pixels], [samples.masks]
    for lesion, place in pairs:
        base = inpainted(samples.pixels[place : place + 1], regions[place : place + 1])[0]
        given = samples.pixels[lesion], samples.masks[lesion].astype(np.uint8)
        picture, mask = (
            pasted(ground, regions[place], shown, regions[lesion])
            for ground, shown in zip((base, np.zeros_like(base)), given, strict=True)
        )
        pixels.append(picture[None])
        masks.append(mask[None] > 0)
    names = ("ids", "labels", "splits", "patients", "has_mask")
    more: dict[str, Any] = {
        name: np.concatenate([getattr(samples, name), getattr(samples, name)[pairs[:, 0]]]) for name in names
    }
    return replace(samples, pixels=np.concatenate(pixels), masks=np.concatenate(masks), **more), pairs[:, 0]


def drawn_rows(
    rows: list[int], of: NDArray[np.int64], first: int, seed: int, epoch: int, chance: float = 0.5
) -> list[int]:
    """What an epoch shows for every training row: the sample itself, or, by this chance, one of its pictures.

    of [k]: the sample of each picture; first: position of the first picture.
    """
    draw, found = generator(seed, "surroundings", str(epoch)), []
    pictures: dict[int, list[int]] = {}
    for picture, row in enumerate(of.tolist(), start=first):
        pictures.setdefault(row, []).append(picture)
    for row in rows:
        own = pictures.get(row, [])
        found.append(own[draw.integers(len(own))] if own and draw.random() < chance else row)
    return found


WAYS = 8
"""Flips and quarter turns of a square, the square itself among them, number 0."""
COPIES: dict[Augment, int] = {"flips": WAYS - 1, "patch": 2 * WAYS}
"""Stored variants of every training sample. With flips alone they and the sample are all that there is."""
TURN, ZOOM, SHIFT, CONTRAST, BRIGHTNESS = np.pi / 12, (0.85, 1.15), 0.05, 0.2, 0.3


@dataclass(frozen=True, slots=True, eq=False)
class Variants:
    """Variants of training samples, by position: n samples as they are, then k variants of them.

    base int64 [n + k]: the sample that each shows; ways int64 [n + k]: its flip or turn; places float32 [n + k, 2, 3]:
    from the variant's coordinates to the sample's, as `affine_grid` takes them, flip and turn included; tones float32
    [n + k, 2]: contrast about the sample's mean, and what is added in units of normalised grey values. moved: whether
    there is more than flips and turns, which are exact.
    """

    base: Tensor
    ways: Tensor
    places: Tensor
    tones: Tensor
    moved: bool
    first: int

    @property
    def of(self) -> NDArray[np.int64]:
        """Of which sample each variant is, int64 [k]."""
        found: NDArray[np.int64] = self.base[self.first :].cpu().numpy()
        return found

    @property
    def chance(self) -> float:
        """How often an epoch shows a variant: always, or so that all eight ways of a sample are as frequent."""
        return 1.0 if self.moved else 1 - 1 / WAYS

    def to(self, device: torch.device) -> "Variants":
        moved = {each.name: getattr(self, each.name).to(device) for each in fields(self)[:4]}
        return replace(self, **moved)

    def digest(self) -> str:
        """SHA-256 of all that decides what is shown."""
        return digest(
            self.moved, bytes_digest(getattr(self, each.name).cpu().numpy().tobytes() for each in fields(self)[:4])
        )

    def pixels(self, grey: Tensor, rows: Tensor) -> Tensor:
        """What is shown at these positions int64 [m], from the grey values float32 [m, s, s] of the samples there."""
        if not self.moved:
            return turned(grey, self.ways[rows])
        changed = rows >= self.first
        if not changed.any():
            return grey
        at, own = rows[changed], grey[changed]
        contrast, added = self.tones[at, :, None, None].unbind(dim=1)
        mean = own.mean(dim=(1, 2), keepdim=True)
        found = grey.clone()
        found[changed] = warped((own - mean) * contrast + mean + added, self.places[at], "bilinear")
        return found

    def masks(self, masks: Tensor, rows: Tensor) -> Tensor:
        """The same of annotations: bool [m, s, s] of all samples' masks bool [n, s, s]."""
        return warped(masks[self.base[rows]].float(), self.places[rows], "nearest") > 0.5


def warped(grey: Tensor, places: Tensor, mode: str) -> Tensor:
    """Pictures float32 [m, s, s], each read where its affine map [m, 2, 3] says; mirrored beyond the edge."""
    grid = affine_grid(places, [len(grey), 1, *grey.shape[1:]], align_corners=False)
    return grid_sample(grey[:, None], grid, mode, "reflection", align_corners=False)[:, 0]


def turned(samples: Tensor, ways: Tensor) -> Tensor:
    """Samples [m, ..., s, s], each in one of its eight flips and quarter turns, ways int64 [m]."""
    found = samples.clone()
    for way in range(1, WAYS):
        chosen = ways == way
        if chosen.any():
            own = samples[chosen]
            found[chosen] = torch.rot90(own.flip(-1) if way >= 4 else own, way % 4, (-2, -1))
    return found


@dataclass(frozen=True, slots=True, eq=False)
class Shown:
    """What training shows: samples and, behind their positions, pictures of some, pasted or as variants.

    labels int64 [positions]. of int64 [k]: of which sample each picture is; chance: how often an epoch shows one.
    """

    samples: SampleArrays
    labels: Tensor
    of: NDArray[np.int64]
    chance: float
    variants: Variants | None = None

    def rows(self, rows: list[int], seed: int, epoch: int) -> list[int]:
        """What the epoch shows for every training row."""
        if not len(self.of):
            return rows
        return drawn_rows(rows, self.of, len(self.labels) - len(self.of), seed, epoch, self.chance)

    def masks(self, masks: Tensor, rows: Tensor) -> Tensor:
        """Annotations bool [m, s, s] at positions `rows` of masks bool [n, s, s] of the samples."""
        return masks[rows] if self.variants is None else self.variants.masks(masks, rows)


def shown(samples: SampleArrays, augment: Augment, seed: int) -> Shown:
    """What training with this augmentation shows; the run's seed draws surroundings, and what an epoch shows."""
    labels, variants, of = torch.from_numpy(samples.labels), draw_variants(samples, augment), np.zeros(0, np.int64)
    if variants is not None:
        return Shown(samples, labels[variants.base], variants.of, variants.chance, variants)
    if augment == "surroundings":
        samples, of = with_surroundings(samples, seed)
    return Shown(samples, torch.from_numpy(samples.labels), of, 0.5)


def draw_variants(samples: SampleArrays, augment: Augment) -> Variants | None:
    """Variants of every training sample, COPIES of each; None where the augmentation has none.

    flips: all other flips and quarter turns. patch: each of the eight ways twice, and turned by up to 15 degrees,
    zoomed by 0.85 to 1.15, shifted by up to 5 % of the side, contrast changed by up to 20 % and brightness by up to 0.3
    standard deviations. Drawn from the sample set alone, so that all runs of a grid share them.
    """
    if augment not in COPIES:
        return None
    rows, first, moved = np.flatnonzero(samples.splits == "train"), len(samples.ids), augment == "patch"
    of, copies = np.repeat(rows, COPIES[augment]), COPIES[augment]
    draw, count = generator(0, "variants", samples.digest), len(rows) * copies
    ways = np.concatenate(
        [np.zeros(first, np.int64), np.tile(np.arange(copies) % WAYS if moved else np.arange(1, WAYS), len(rows))]
    )
    places = np.tile(np.eye(2, 3), (first + count, 1, 1))
    tones = np.tile([1.0, 0.0], (first + count, 1))
    if moved:
        angle, zoom = draw.uniform(-TURN, TURN, count), draw.uniform(*ZOOM, count)
        sides = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]]) / zoom
        places[first:, :, :2] = sides.transpose(2, 0, 1)
        places[first:, :, 2] = draw.uniform(-2 * SHIFT, 2 * SHIFT, (count, 2))  # coordinates run from -1 to 1
        tones[first:] += draw.uniform(-1, 1, (count, 2)) * [CONTRAST, BRIGHTNESS]
    places = np.array([_way(way) for way in range(WAYS)])[ways] @ places
    return Variants(
        torch.from_numpy(np.concatenate([np.arange(first), of])),
        torch.from_numpy(ways),
        torch.from_numpy(places).float(),
        torch.from_numpy(tones).float(),
        moved,
        first,
    )


def _way(way: int) -> NDArray[np.float64]:
    """From the coordinates (x, y) of a flip or turn to those of the sample: `turned`, as a matrix."""
    mirror = np.diag([-1.0, 1.0]) if way >= 4 else np.eye(2)
    found: NDArray[np.float64] = mirror @ np.linalg.matrix_power(np.array([[0.0, -1.0], [1.0, 0.0]]), way % 4)
    return found


def as_mammogram(pixels: Tensor, views: int = 1) -> Tensor:
    """Every film of [n, c, h, w] flipped both ways at random, turned by up to 25 degrees, sheared by up to 12, zoomed
    by 0.8 to 1.2, and brighter or darker by up to 20 of 255 grey values, drawn by torch's global generator.

    What comes in from outside is as dark as the film's darkest pixel; what leaves the range of a film is cut. views:
    films that lie in a sample, one above the other, each of which is changed by itself (Petrini et al. 2022).
    """
    if views > 1:
        return torch.cat([as_mammogram(film) for film in pixels.chunk(views, dim=2)], dim=2)
    changed = []
    for film in pixels:
        low, high = float(film.min()), float(film.max())
        moved = RandomAffine(25, scale=(0.8, 1.2), shear=12, interpolation=InterpolationMode.BILINEAR, fill=low)
        turned = RandomVerticalFlip()(RandomHorizontalFlip()(moved(film)))
        brighter = (2 * torch.rand(1).item() - 1) * 20 / 255 * (high - low)
        changed.append((turned + brighter).clamp(low, high))
    return torch.stack(changed)
