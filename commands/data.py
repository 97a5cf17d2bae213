"""Data sets: obtained, and looked through before a study."""

import shutil
import sys
from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from commands.configuration import SOUND, Wanted
from commands.services import say

if TYPE_CHECKING:
    from lesionlens.config.study import StudyConfig
    from lesionlens.samples.rehearsal import Rehearsal


ONE = {"backbones": "backbone", "strategies": "strategy", "sets": "set", "seeds": "seed"}


def fetch(edition: Literal["kaggle", "idc"], folder: Path, /, *, yes: bool = False) -> None:
    """Obtain CBIS-DDSM.

    Says size and licence first, and asks. A stopped download goes on where it stopped.

    For example:

        lesionlens fetch kaggle /films

    Args:
        edition: kaggle: JPEG, about 6 GB; idc: DICOM, about 160 GB.
        folder: Where to.
        yes: Do not ask.
    """
    from lesionlens.datasets import download

    download.agree(edition, folder.resolve(), yes)
    print(download.fetch(edition, folder.resolve()))


def check(folder: Path | None = None, /, *, wanted: Wanted = SOUND, pictures: Path | None = None) -> None:
    """Look through a data set as a study would, in seconds, without Prefect.

    Opens every image and annotation, and says what each class and split would hold, what is left out and why, how long
    the study takes here and how much it stores, and what would stop it. The exit status is 2 where something would.

    For example:

        lesionlens check /films
        lesionlens check /films --preset small --pictures films.png

    Args:
        folder: The data set (docs/data.md).
        pictures: PNG, not there yet, for ten samples with their annotations; in the reports of the home, if left out.
    """
    if pictures is not None and pictures.exists():
        raise ValueError(f"{pictures} is there already: name another file with --pictures")
    if folder is not None and wanted.data is not None and folder.resolve() != wanted.data.resolve():
        raise ValueError(f"two folders are named, {folder} and {wanted.data}: say which")
    asked = wanted if folder is None else replace(wanted, data=folder)
    for config in asked.studies():
        rehearse(config, sized=asked.leaves_size_open(), pictures=pictures)


def settled(wanted: Wanted) -> "tuple[StudyConfig, ...]":
    """The configurations with everything decided that follows from the data: their layout, and the size of `small`."""
    from lesionlens.datasets.registry import resolve_source

    configs = tuple(resolve_source(config) for config in wanted.studies())
    config = configs[0]
    if not wanted.leaves_size_open() or config.data.root is None:
        return configs
    from lesionlens.samples.rehearsal import size_for

    found = _look_through(config, config.data.root)
    return (_with_size(config, size_for(found.windows)),)


def rehearse(config: "StudyConfig", sized: bool = False, pictures: Path | None = None) -> None:
    """Print what a study with this configuration would do. ValueError, at the end, with all that would stop it.

    sized: patches get the size that follows from the lesions.
    """
    from lesionlens.datasets.registry import resolve_source
    from lesionlens.samples.rehearsal import SMALL, size_for

    config = resolve_source(config)
    if config.data.root is None:
        print(f"Study {config.name} draws its own data; {_grid(config)}")
        return
    found = _look_through(config, config.data.root)
    if sized and len(found.windows) and config.unit == "patch":
        config = _with_size(config, size_for(found.windows))
    _print_data(found)
    if found.fault and not len(found.windows):  # nothing to show, and no study to speak of
        raise ValueError(f"this study would stop: {found.fault}")
    print(f"Pictures: {_draw(found, pictures)}")
    print(f"\nStudy {config.name}: {_grid(config)}, {_samples(config)}", flush=True)
    if found.fault:
        raise ValueError("this study would stop: " + "; ".join([found.fault, *_missing_weights(config)]))
    faults = _print_cost(config, found)
    if len(found.windows) < SMALL and config.grid.runs()[12:]:
        print(f"{len(found.windows)} lesions are few for {len(config.grid.runs())} runs: try --preset small")
    if faults:
        raise ValueError("this study would stop: " + "; ".join(faults))


def _samples(config: "StudyConfig") -> str:
    if config.unit == "patch":
        return f"patches of {config.patches.size} pixels"
    return f"films of {config.images.height} x {config.images.width} pixels"


def _with_size(config: "StudyConfig", size: int) -> "StudyConfig":
    return config.model_copy(update={"patches": config.patches.model_copy(update={"size": size})})


def _grid(config: "StudyConfig") -> str:
    grid = config.grid
    counts: list[tuple[str, tuple[object, ...]]] = [
        ("backbones", grid.backbones),
        ("strategies", grid.strategies),
        ("sets", grid.sets),
        ("seeds", grid.seeds),
    ]
    counts += [("guidances", grid.guidance)] if len(grid.guidance) > 1 else []
    named = [f"{len(part)} {name if len(part) > 1 else ONE[name]}" for name, part in counts]
    runs = len(grid.runs())
    return f"{runs} {'runs' if runs > 1 else 'run'} ({' x '.join(named)})"


def _look_through(config: "StudyConfig", root: Path) -> "Rehearsal":
    from rich.console import Console
    from rich.progress import Progress

    from lesionlens.datasets.registry import read_index
    from lesionlens.samples.rehearsal import rehearse

    say(f"Reading {root} ...")
    index = read_index(config.data, root)
    with Progress(console=Console(stderr=True), transient=True, disable=not sys.stderr.isatty()) as bars:
        task = bars.add_task("open images", total=len(index.images))
        return rehearse(index, root, config, lambda done, total: bars.update(task, completed=done, total=total))


def _print_data(found: "Rehearsal") -> None:
    from lesionlens.samples.rehearsal import split_table

    index = found.index
    patients = len({image.patient for image in index.images})
    print(
        f"{index.name} ({index.kind}): {len(index.images)} images of {patients} patients, {len(index.lesions)} lesions"
    )
    print(f"opened in {found.seconds:.1f} s\n")
    table = split_table(found)
    widths = [max(len(row[column]) for row in table) for column in range(4)]
    for row in table:
        print(
            "  "
            + row[0].ljust(widths[0])
            + "".join(cell.rjust(width + 2) for cell, width in zip(row[1:], widths[1:], strict=True))
        )
    print()
    for title, about in (("lesions left out", True), ("notes on images", False)):
        chosen = [e for e in found.exclusions if (e.lesion_key is not None) is about]
        for reason, n in Counter(e.reason for e in chosen).most_common():
            first = next(e for e in chosen if e.reason == reason)
            print(f"  {title}: {reason} {n}, first {first.image_key}{f' ({first.detail})' if first.detail else ''}")
    for leak in found.leaks:
        if leak.shared:
            print(f"  {leak.split_a} and {leak.split_b} share {leak.shared} of {leak.entity}, first {leak.examples[0]}")


def _draw(found: "Rehearsal", pictures: Path | None) -> Path:
    from lesionlens.identity import file_name
    from lesionlens.samples.rehearsal import contact_sheet
    from lesionlens.settings import home

    path = pictures or home().ensure().reports / f"check-{file_name(found.index.name)}.png"
    path.parent.mkdir(parents=True, exist_ok=True)
    contact_sheet(found.shown, {label.code: label.name for label in found.index.labels}).save(path, "PNG")
    return path


def _print_cost(config: "StudyConfig", found: "Rehearsal") -> list[str]:
    """Say how long the grid takes and what it stores here; returns what would stop it."""
    from lesionlens.errors import TrainingError
    from lesionlens.settings import home, settings
    from lesionlens.training.estimate import estimate, measure
    from lesionlens.training.fit import choose_device

    faults = _missing_weights(config)
    try:
        device = choose_device(settings().device)
    except TrainingError as error:
        return [*faults, str(error)]
    classes, shape = len(found.index.labels), config.sample_shape[:2]
    if config.grid.system == "detector":
        from lesionlens.detection.fit import measure as measure_detector

        runs = {run.backbone: run for run in config.grid.runs()}
        rates = {name: measure_detector(run, config.training, classes, shape, device) for name, run in runs.items()}
    else:
        rates = {name: measure(name, classes, shape, device) for name in config.grid.backbones}
    cost = estimate(config, rates, *(found.of_split(split) for split in ("train", "validation", "test")))
    stopping = config.training.stopping
    print(
        f"  time  {_time(cost.shortest)} to {_time(cost.longest)} on {device}, for {stopping.patience + 1} to "
        f"{stopping.max_epochs} epochs a phase, at rates measured just now"
    )
    free, stored, cached = shutil.disk_usage(home().ensure().root).free, cost.checkpoint_bytes, cost.cache_bytes
    print(
        f"  disk  {stored / 1e9:.1f} GB of weights, {cached / 1e9:.1f} GB of cache, which may be deleted; "
        f"{free / 1e9:.0f} GB are free"
    )
    if stored + cached > free:
        faults.append(f"{home().root} has too little room: move LESIONLENS_HOME")
    return faults


def _missing_weights(config: "StudyConfig") -> list[str]:
    from lesionlens.models.weights import absent

    return [] if config.training.start else absent(config.grid.backbones, config.training.weights)


def _time(seconds: float) -> str:
    hours, minutes = divmod(max(round(seconds / 60), 1), 60)
    return f"{hours} h {minutes:02d} min" if hours else f"{minutes} min"
