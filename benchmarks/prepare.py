"""Cutting patches beside decoding alone of the same files, on mammograms of full size.

    python -m benchmarks.prepare             40 phantoms of 4800 x 2900, 7 rounds, about 3 minutes on a quiet core
    python -m benchmarks.prepare --small     a try in seconds: 1200 x 725
    python -m benchmarks.prepare --data DIR  the same on a data set of yours, its first 40 images with lesions

One side decodes image and mask files with Pillow and does nothing else. The other is what prepare does with an image:
decode, find the lesion, cut, resize. Both run in one process, in turns, and both must have decoded the same pixels:
their checksums are compared first. What comes after (PNG, the record) is done by other threads and not measured here.
"""

import argparse
import tempfile
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any
from unittest.mock import patch as replaced

import numpy as np
from PIL import Image as Pillow

from benchmarks.interleaved import interleaved, ratios, spread
from lesionlens.config.data import DataConfig, PatchConfig, PhantomConfig
from lesionlens.config.study import StudyConfig
from lesionlens.datasets.registry import read_index
from lesionlens.images.reading import read_image, read_mask
from lesionlens.phantom.dataset import write_phantom
from lesionlens.processes import keep_freed_memory
from lesionlens.records import Sample
from lesionlens.samples import cutting
from lesionlens.samples.cutting import LesionJob, LesionTask, cut_lesions
from lesionlens.samples.sample_set import select

GOAL = 1.3
IMAGES = 40


def jobs_of(config: StudyConfig, root: Path, most: int) -> list[LesionJob]:
    """The first images with lesions, each with all of them."""
    tasks: dict[str, list[LesionTask]] = {}
    images = {}
    for choice in select(read_index(config.data, root), config.patches.per)[0]:
        images[choice.image.key] = choice.image
        tasks.setdefault(choice.image.key, []).append(LesionTask(choice.lesion, choice.label, "train"))
    return [LesionJob(root, images[k], False, tuple(t), config) for k, t in list(tasks.items())[:most]]


def files_of(jobs: list[LesionJob]) -> list[Path]:
    """Every file that the jobs need, in the order in which they read them."""
    return [j.root / path for j in jobs for path in (j.image.path, *(str(t.lesion.mask_path) for t in j.tasks))]


def decode(files: list[Path]) -> None:
    for file in files:
        with Pillow.open(file) as image:
            np.asarray(image)


def same_pixels(jobs: list[LesionJob], files: list[Path]) -> bool:
    """Whether cutting reads exactly the files that are decoded, and gets exactly their pixels."""
    seen: list[int] = []

    def watched(root: Path, relative: str) -> Any:
        image = read_image(root, relative)
        seen.append(zlib.crc32(image.pixels.tobytes()))
        return image

    def watched_mask(root: Path, relative: str) -> Any:
        mask = read_mask(root, relative)
        seen.append(zlib.crc32(mask.values.tobytes()))
        return mask

    with replaced.object(cutting, "read_image", watched), replaced.object(cutting, "read_mask", watched_mask):
        for job in jobs:
            cut_lesions(job)
    expected = []
    for file in files:
        with Pillow.open(file) as image:
            expected.append(zlib.crc32(np.asarray(image).tobytes()))
    return seen == expected


def measure(config: StudyConfig, root: Path, rounds: int, say: Callable[[str], None]) -> float:
    """Prints both sides; returns the median ratio of cutting to decoding."""
    keep_freed_memory()  # as every worker does; both sides have it
    jobs = jobs_of(config, root, IMAGES)
    files = files_of(jobs)
    if not same_pixels(jobs, files):
        raise SystemExit("the two sides decoded different pixels: the comparison is void")
    patches = sum(isinstance(item, Sample) for job in jobs for item in cut_lesions(job))
    sides = {"cut": lambda: [cut_lesions(job) for job in jobs], "decode": lambda: decode(files)}
    seconds = interleaved(sides, rounds)
    ratio = ratios(seconds, "decode", "cut")
    say(f"{len(jobs)} images, {len(files) - len(jobs)} masks, {patches} patches; both sides decoded the same pixels")
    rates = sorted(patches / s for s in seconds["cut"])
    say(f"  patches per second and core   {rates[len(rates) // 2]:.1f} ({rates[0]:.1f} to {rates[-1]:.1f})")
    for name in sides:
        each = sorted(1000 * s / len(jobs) for s in seconds[name])
        say(f"  {name:7} ms an image           {each[len(each) // 2]:.1f} ({each[0]:.1f} to {each[-1]:.1f})")
    say(f"  cutting / decoding alone      {spread(ratio)}   goal at most {GOAL}")
    return float(np.median(ratio))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--small", action="store_true", help="a try in seconds")
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--data", type=Path, help="a data set in the Kaggle layout instead of phantoms")
    options = parser.parse_args()
    patches = PatchConfig(jitter=1.0)
    if options.data is not None:
        measure(StudyConfig(data=DataConfig(root=options.data), patches=patches), options.data, options.rounds, print)
        return
    height = 1200 if options.small else 4800
    phantom = PhantomConfig(height=height, train_per_class=8, test_per_class=2, callback_free=2)
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder) / "phantom"
        print(f"drawing phantoms of {phantom.height} x {phantom.width} ...", flush=True)
        write_phantom(phantom, root)
        config = StudyConfig(data=DataConfig(root=root), patches=patches)
        measure(config, root, options.rounds, print)


if __name__ == "__main__":
    main()
