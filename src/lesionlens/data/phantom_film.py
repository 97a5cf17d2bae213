"""From a drawn breast to the pixels of a scanned film: lead letters, film edge, grain, side."""

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from lesionlens.phantom.anatomy import Field
from lesionlens.phantom.plan import Case

GRAIN = 0.007


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
