"""Trained runs for use elsewhere: exported as files, applied to images, opened in Python."""

import csv
import json
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from cyclopts import Parameter

from commands.services import say

if TYPE_CHECKING:
    from lesionlens.attribution.predicting import Predictor
    from lesionlens.records import Box

IMAGES = (".png", ".jpg", ".jpeg", ".tif", ".tiff", ".bmp", ".dcm")


def export(
    run: int, /, *, to: Path, onnx: Annotated[bool, Parameter(negative="--no-onnx")] = True, dry_run: bool = False
) -> None:
    """Write a trained run for use without lesionlens, also as ONNX.

    weights.safetensors has torchvision's names, model.onnx takes normalised pixels, model.json says how an input is
    made, in which order the classes come, how well the run did, and how to load it in four lines.

    For example:

        lesionlens export 7 --to my-model

    Args:
        run: The run's number (lesionlens list STUDY).
        to: A folder that is not there yet, or is empty.
        onnx: Also as ONNX; --no-onnx leaves it out.
        dry_run: Say what would be written, and write nothing.
    """
    _refuse_full(to)
    predictor, about = _opened(run)
    if dry_run:
        names = ["weights.safetensors", *(["model.onnx"] if onnx else []), "model.json"]
        print(f"{', '.join(names)} of run {run} would be written into {to}")
        return
    import safetensors.torch

    from lesionlens.models.export import loading, torchvision_state, write_onnx

    part = to.with_name(to.name + ".part")
    shutil.rmtree(part, ignore_errors=True)
    part.mkdir(parents=True)
    try:
        safetensors.torch.save_file(torchvision_state(predictor.model), part / "weights.safetensors")
        if onnx:
            say("Writing ONNX ...")
            write_onnx(predictor.model, part / "model.onnx", predictor.size)
        text = json.dumps(about | {"loading": loading(predictor.model)}, indent=2, ensure_ascii=False, default=str)
        (part / "model.json").write_text(text + "\n", encoding="utf-8")
        if to.exists():
            to.rmdir()
        part.replace(to)
    finally:
        shutil.rmtree(part, ignore_errors=True)
    for path in sorted(to.iterdir()):
        print(f"{path}  {path.stat().st_size / 1e6:.1f} MB")


def predict(
    run: int,
    /,
    *images: Path,
    boxes: Path | None = None,
    masks: Path | None = None,
    to: Path = Path("predictions"),
    dry_run: bool = False,
) -> None:
    """Apply a trained run to images: probabilities, maps, pictures.

    A folder stands for the images in it. Without boxes or masks the whole image is taken, which is more than a network
    of patches was trained on. Not a medical device.

    For example:

        lesionlens predict 7 new/case1.png --masks new/masks --to case1
        lesionlens predict 7 new/ --boxes boxes.csv

    Args:
        run: The run's number (lesionlens list STUDY).
        images: Image files, or folders of them.
        boxes: CSV with the columns image (file name), x0, y0, x1, y1: one window per line.
        masks: Folder of masks with the names of the images.
        to: Folder for predictions.csv, maps and pictures; one that is not there yet, or is empty.
        dry_run: Name the images, and do nothing.
    """
    if not images:
        raise ValueError("name images, or a folder of them: lesionlens predict RUN IMAGE...")
    if boxes is not None and masks is not None:
        raise ValueError("--boxes and --masks both say where lesions lie: name one of them")
    files = _images(images)
    _refuse_full(to)
    if dry_run:
        print(f"{len(files)} images would be predicted by run {run}, into {to}")
        return
    predictor, _ = _opened(run)
    cut = _cut(predictor, files, _boxes(boxes), masks)
    _write(predictor, cut, to)


def load_run(run: int) -> "Predictor":
    """A trained run of the record by its number: `.model`, `.classes`, `.predict(patches)`, `.patch(image, box)`.

    ValueError where the record holds no such run, CheckpointError where its weights are lost.
    """
    return _opened(run)[0]


def _opened(run_id: int) -> "tuple[Predictor, dict[str, Any]]":
    """A run with what its inputs are made by, and what model.json says of it."""
    from db import reports, studies
    from db.engine import make_engine
    from lesionlens.attribution.predicting import Predictor
    from lesionlens.config.study import StudyConfig
    from lesionlens.reporting.card.export import FRAMES, about, statistics_of
    from lesionlens.settings import home
    from lesionlens.training.checkpoints import checkpoint_folder, load_model

    with make_engine().connect() as connection:
        run = studies.run_row(connection, run_id)
        best = next((found for found in studies.checkpoints(connection, run_id) if found.role == "best"), None)
        if run.status != "finished" or best is None:
            raise ValueError(f"run {run_id} is {run.status}: only a finished run has weights to use")
        if run.config.system == "detector":
            raise ValueError(f"run {run_id} is a detector: its marks are in the view `marks`; name a classifier")
        study_id = studies.studies_of_runs(connection, [run_id])[-1]
        data = reports.report_data(connection, study_id, FRAMES)
    classes = tuple(data.frames["labels"]["code"])
    folder = checkpoint_folder(home().checkpoints, run.digest)
    model = load_model(run.config, run.training, classes, folder, best)
    study = StudyConfig.model_validate(data.study["config"])
    predictor = Predictor(model, study, run.config, run.training, classes, statistics_of(data))
    return predictor, about(data, run_id, best)


def _refuse_full(folder: Path) -> None:
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise ValueError(f"{folder} is there already: name another folder with --to")


def _images(named: Sequence[Path]) -> list[Path]:
    found: list[Path] = []
    for path in named:
        if path.is_dir():
            inside = sorted(p for p in path.iterdir() if p.suffix.lower() in IMAGES)
            if not inside:
                raise ValueError(f"{path} holds no image ({', '.join(IMAGES)})")
            found += inside
        elif path.is_file():
            found.append(path)
        else:
            raise ValueError(f"{path} is not there")
    return found


def _boxes(path: Path | None) -> dict[str, list[tuple[int, ...]]]:
    """Boxes by file name. ValueError where a column is missing or a corner is no whole number."""
    found: dict[str, list[tuple[int, ...]]] = {}
    if path is None:
        return found
    with path.open(newline="", encoding="utf-8-sig") as file:
        for number, row in enumerate(csv.DictReader(file), 2):
            try:
                found.setdefault(row["image"], []).append(tuple(int(row[name]) for name in ("x0", "y0", "x1", "y1")))
            except (KeyError, TypeError, ValueError):
                raise ValueError(
                    f"{path}, line {number}: the columns image, x0, y0, x1, y1 are needed, in pixels"
                ) from None
    return found


def _cut(
    predictor: "Predictor", files: Sequence[Path], boxes: dict[str, list[tuple[int, ...]]], masks: Path | None
) -> "list[tuple[Path, Box, Any]]":
    """(file, window, patch uint8 [s, s]) for every window; files that cannot be used are named and left out."""
    from lesionlens.attribution.predicting import box_of_mask, box_within, open_image
    from lesionlens.images.image import UnusableImageError

    cut: list[tuple[Path, Box, Any]] = []
    for path in files:
        try:
            image = open_image(path)
            wanted: list[Box | None] = [None]
            if masks is not None:
                wanted = [box_of_mask(masks / path.name, image, predictor.study)]
            elif boxes:
                wanted = [box_within(corners, image) for corners in boxes.get(path.name, [])]
                if not wanted:
                    raise ValueError("no box names it")
            for box in wanted:
                patch, window = predictor.patch(image, box)
                cut.append((path, window, patch))
        except (UnusableImageError, ValueError) as error:
            say(f"{path} is left out: {error}")
    if not cut:
        raise ValueError("no image could be used")
    return cut


def _write(predictor: "Predictor", cut: "Sequence[tuple[Path, Box, Any]]", to: Path) -> None:
    """predictions.csv, a map and a picture per window; the table on standard output, too."""
    import numpy as np

    from lesionlens.settings import settings
    from lesionlens.training.fit import choose_device

    found = predictor.predict(np.stack([patch for _, _, patch in cut]), choose_device(settings().device))
    to.mkdir(parents=True, exist_ok=True)
    names = [f"{n:04d}-{path.stem}" for n, (path, _, _) in enumerate(cut)]
    heading = ["image", "x0", "y0", "x1", "y1", "predicted", *predictor.classes]
    rows = [
        [str(path), window.x0, window.y0, window.x1, window.y1, predictor.classes[k], *(f"{p:.6f}" for p in chances)]
        for (path, window, _), k, chances in zip(cut, found.predicted, found.probabilities, strict=True)
    ]
    with (to / "predictions.csv").open("w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows([heading, *rows])
    for name, (_, _, patch), grid in zip(names, cut, found.maps, strict=True):
        np.save(to / f"{name}.npy", grid)
        predictor.picture(patch, grid).save(to / f"{name}.png")
    for row in rows[:20]:
        print(
            f"{row[0]}  {row[5]}  "
            + "  ".join(f"{c} {float(p):.3f}" for c, p in zip(predictor.classes, row[6:], strict=True))
        )
    print(f"{len(rows)} windows: {to / 'predictions.csv'}, with maps (.npy) and pictures (.png) beside it")


def examine(
    data: Path,
    /,
    *,
    predictions: Path | None = None,
    maps: Path | None = None,
    template: bool = False,
    size: int = 224,
    name: str = "own model",
    record: bool = False,
    to: Path = Path("examination"),
    dry_run: bool = False,
) -> None:
    """Examine predictions and maps that another tool made.

    Predictions: CSV or Parquet with the columns `sample` and one of each class. Maps: a folder with `<sample>.npy` or
    `<sample>.png`. What needs the model (occlusion, swap, weight randomisation) is missing, so no answer is a yes. A
    torch module is examined from Python (docs/examine.md).

    For example:

        lesionlens examine /films --template > samples.csv
        lesionlens examine /films --predictions predictions.parquet --maps maps/

    Args:
        data: The data set (docs/data.md); all of it is test, unless it has splits.
        predictions: Probabilities of every sample.
        maps: Folder of the maps.
        template: Print the samples that are wanted, with their windows, as CSV, and stop.
        size: Side of a sample in pixels.
        name: Name of the model in the report.
        record: Keep everything in the record, too.
        to: Folder of the report, where it is not kept in the record; one that is not there yet, or is empty.
        dry_run: Say what would be examined, and stop.
    """
    from lesionlens.config.data import PatchConfig
    from tasks.examination import files

    patches = PatchConfig(size=size, jitter=1.0)
    if template:
        print(files.template(data, patches).write_csv(), end="")
        return
    if predictions is None or maps is None:
        raise ValueError("name --predictions FILE and --maps FOLDER, or print the samples they are made of: --template")
    if not predictions.is_file() or not maps.is_dir():
        wrong, kind = (predictions, "file") if not predictions.is_file() else (maps, "folder")
        raise ValueError(f"{wrong} is no {kind}: --predictions takes a file, --maps a folder")
    if not record:
        _refuse_full(to)
    if dry_run:
        count = files.template(data, patches).height
        print(f"{predictions} and {maps} would be examined over {count} samples; the report goes to {to}.")
        return
    print(files.examine_files(predictions, maps, data=data, patches=patches, name=name, record=record, to=to))
