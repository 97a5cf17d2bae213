"""A breast without a lesion: outline, skin line, parenchyma, pectoral muscle.

Drawn with the chest wall at the left edge. Lengths are fractions of the image width unless they say pixels,
so that a phantom looks the same at any size. The parenchyma is a Gaussian random field whose power falls with
the third power of spatial frequency, as measured in mammograms (Burgess 1999, Heine and Velthuizen 2002).
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from lesionlens.datasets.case_files import View
from lesionlens.phantom.plan import Case

Field = NDArray[np.floating[Any]]

TEXTURE_EXPONENT = 3.0
STRETCH = 1.5  # ducts and ligaments run from the chest wall towards the nipple
GRAIN = 0.007  # standard deviation of film noise
COARSE = 160  # columns of the grid on which smooth fields are computed before they are enlarged
GLAND_BY_DENSITY = {1: 0.25, 2: 0.5, 3: 0.75, 4: 1.0}


@dataclass(frozen=True, slots=True, eq=False)
class Breast:
    """pixels float32 [height, width], about 0 to 1, film black 0; depth float32 [height, width], distance to the
    skin in units of the width, negative outside; gland float32 [rows, cols] in [0, 1] on a coarse grid."""

    pixels: Field
    depth: Field
    gland: Field


def power_law(height: int, width: int, exponent: float, rng: np.random.Generator, stretch: float = 1.0) -> Field:
    """A random field float32 [height, width] with zero mean, unit variance and power ~ frequency ** -exponent.

    With `stretch` above 1 its features are that much longer along a row than down a column.
    """
    rows = np.fft.fftfreq(height).astype(np.float32)[:, None]
    cols = np.fft.rfftfreq(width).astype(np.float32)[None, :] * np.float32(stretch)
    power = rows * rows + cols * cols
    power[0, 0] = np.inf
    np.power(power, -exponent / 4, out=power)
    spectrum = rng.standard_normal((*power.shape, 2), dtype=np.float32).view(np.complex64)[..., 0]
    spectrum *= power
    field: Field = np.fft.irfft2(spectrum, (height, width)).astype(np.float32, copy=False)
    field /= field.std()
    return field


def draw_breast(height: int, width: int, view: View, density: int, rng: np.random.Generator) -> Breast:
    """A breast of the given view and density (1 fatty to 4 dense)."""
    rows, cols = max(2, round(COARSE * height / width)), COARSE
    y = (np.arange(rows, dtype=np.float32)[:, None] + 0.5) * (height / width / rows)
    x = (np.arange(cols, dtype=np.float32)[None, :] + 0.5) / cols
    outline, nipple = _outline(x, y, height / width, view, rng)
    slope = np.hypot(*np.gradient(outline, 1 / cols))
    coarse_depth = np.clip(outline / np.maximum(slope, 1.0), -0.5, 0.8).astype(np.float32)
    gland = _gland(x, y, nipple, coarse_depth, density, rng)
    muscle = _muscle(x, y, height / width, rng) if view == "MLO" else np.zeros((rows, cols), np.float32)

    depth = enlarge(coarse_depth, height, width)
    edge = np.clip(1 - depth / rng.uniform(0.16, 0.24), 0, 1)
    thickness = np.sqrt(1 - edge * edge, out=edge)  # the compressed breast is round at its rim
    texture = power_law(height, width, TEXTURE_EXPONENT, rng, STRETCH)
    pixels = _tissue(texture, enlarge(gland, height, width), enlarge(muscle, height, width), rng)
    pixels += _strands(height, width, rng) * enlarge(0.4 + 0.6 * gland - 0.25 * muscle, height, width)
    pixels *= thickness
    pixels += 0.07 * np.exp(-(((depth - 0.006) / 0.004) ** 2))  # skin, seen edge-on
    pixels[depth < 0] *= np.exp(depth[depth < 0] / 0.002)
    return Breast(pixels, depth, gland)


def enlarge(field: Field, height: int, width: int) -> Field:
    """Bicubic enlargement of a smooth field to [height, width]."""
    image = Image.fromarray(np.ascontiguousarray(field, dtype=np.float32))
    return np.array(image.resize((width, height), Image.Resampling.BICUBIC), dtype=np.float32)


def _outline(
    x: Field, y: Field, aspect: float, view: View, rng: np.random.Generator
) -> tuple[Field, tuple[float, float]]:
    """A function positive inside the breast, zero on the skin; and the nipple's (x, y)."""
    reach = rng.uniform(0.58, 0.8)
    if view == "CC":
        middle, up, down = (
            aspect * rng.uniform(0.47, 0.53),
            aspect * rng.uniform(0.36, 0.44),
            aspect * rng.uniform(0.36, 0.44),
        )
        droop = rng.uniform(-0.05, 0.05)
    else:
        middle, up, down = (
            aspect * rng.uniform(0.56, 0.62),
            aspect * rng.uniform(0.8, 1.0),
            aspect * rng.uniform(0.3, 0.36),
        )
        droop = rng.uniform(0.05, 0.16)
    vertical = y - middle - droop * x
    vertical = np.where(vertical < 0, vertical / up, vertical / down)
    wobble = sum(rng.normal(0, 0.02 / k) * np.sin(k * 2.5 * y + rng.uniform(0, 6.3)) for k in (1, 2, 3))
    inside = 1 + wobble - (x / reach) ** 2 - np.abs(vertical) ** rng.uniform(1.9, 2.3)
    nipple = (reach, middle + droop * reach)
    tip = 1 / (1 + np.exp(np.clip((0.95 - x / reach) / 0.02, -30, 30)))
    bump = np.exp(-(((y - nipple[1]) / 0.03) ** 4)) * tip * rng.uniform(0.04, 0.12)
    return (inside + bump).astype(np.float32), nipple


def _gland(
    x: Field, y: Field, nipple: tuple[float, float], depth: Field, density: int, rng: np.random.Generator
) -> Field:
    """Proportion of fibroglandular tissue: a ragged fan behind the nipple, larger in denser breasts."""
    grade = GLAND_BY_DENSITY[density]
    along = (nipple[0] - x) / (nipple[0] * (0.55 + 0.5 * grade))
    across = (y - nipple[1] + rng.uniform(-0.05, 0.15) * (nipple[0] - x)) / (0.2 + 0.3 * grade)
    spread = across / np.clip(0.35 + 1.1 * along, 0.25, 1.2)
    ragged = power_law(depth.shape[0], depth.shape[1], 3.4, rng) * 0.22
    fan = 0.85 - np.maximum(along, 0) ** 2.5 - spread**2 * 0.8 + ragged
    gland: Field = 1 / (1 + np.exp(-np.clip(fan, -2, 2) / 0.14))
    under_skin = np.clip((depth - 0.02) / 0.06, 0, 1)  # a layer of fat lies under the skin
    gland *= under_skin * (0.45 + 0.55 * grade)
    return gland


def _muscle(x: Field, y: Field, aspect: float, rng: np.random.Generator) -> Field:
    """Pectoral muscle in MLO: a slightly convex triangle in the upper corner at the chest wall, in [0, 1]."""
    top, low = rng.uniform(0.26, 0.44), aspect * rng.uniform(0.45, 0.62)
    bulge = rng.uniform(0.0, 0.12) * np.sin(np.pi * np.clip(y / low, 0, 1))
    distance = (1 + bulge - x / top - y / low) / np.hypot(1 / top, 1 / low)
    muscle: Field = 1 / (1 + np.exp(-np.clip(distance / 0.012, -30, 30)))
    return muscle


def _tissue(texture: Field, gland: Field, muscle: Field, rng: np.random.Generator) -> Field:
    """Grey of fat, gland and muscle with the parenchymal texture; overwrites `gland` and `texture`."""
    fat, bright = rng.uniform(0.30, 0.38), rng.uniform(0.16, 0.22)
    swing = 0.04 + 0.05 * gland - 0.02 * muscle
    texture *= swing
    gland *= bright * (1 - muscle)
    texture += gland
    texture += fat + rng.uniform(0.13, 0.24) * muscle
    return texture


def _strands(height: int, width: int, rng: np.random.Generator) -> Field:
    """Fibrous strands: thin bright curves along the level lines of smooth random fields."""
    rows, cols = (height + 1) // 2, (width + 1) // 2
    field = power_law(rows, cols, 4.6, rng, 1.6)
    steep = np.hypot(*np.gradient(field)) * (cols * 0.25)
    thin = np.exp(-np.abs(np.sin(field * 6.0)) / (0.04 + 0.02 * steep))
    return enlarge((thin * 0.08).astype(np.float32), height, width)


def develop(pixels: Field, case: Case, rng: np.random.Generator) -> NDArray[np.uint8]:
    """8-bit grey [height, width]; the chest wall stays left. Overwrites `pixels`."""
    width = pixels.shape[1]
    pixels += rng.standard_normal(pixels.shape, dtype=np.float32) * np.float32(GRAIN)
    pixels += np.float32(rng.uniform(0.0, 0.012))
    if rng.random() < 0.5:
        pixels[:, : max(1, round(width * rng.uniform(0.002, 0.006)))] = rng.uniform(0.75, 0.95)
    _letters(pixels, case, rng)
    np.clip(pixels, 0, 1, out=pixels)
    pixels *= 255
    pixels += 0.5
    return pixels.astype(np.uint8)


def _letters(pixels: Field, case: Case, rng: np.random.Generator) -> None:
    """Side and view in lead, on a faint plate in the outer upper corner, away from the chest wall."""
    height, width = pixels.shape
    size = max(round(width * 0.055), 6)
    plate = Image.new("L", (size * 9 // 2, size * 2), 18)
    text = f"{case.side[0]} {case.view}"
    if case.side == "RIGHT":  # a right breast is mirrored as a whole afterwards, so its letters are mirrored here
        plate = _written(plate, text, size).transpose(Image.Transpose.FLIP_LEFT_RIGHT)
    else:
        plate = _written(plate, text, size)
    plate = plate.rotate(rng.uniform(-25, 25), Image.Resampling.BILINEAR, expand=True)
    x = int(width * 0.97) - plate.width - int(rng.uniform(0, 0.03) * width)
    y = int(rng.uniform(0.02, 0.05) * height)
    if x < 0:
        return
    place = (slice(y, y + plate.height), slice(x, x + plate.width))
    lead = np.asarray(plate, np.float32)[: height - y] / 255
    pixels[place] = np.maximum(pixels[place], lead)


def _written(plate: Image.Image, text: str, size: int) -> Image.Image:
    font = ImageFont.load_default(size * 1.2)
    ImageDraw.Draw(plate).text((size * 0.4, size * 0.2), text, fill=235, font=font)
    return plate
