"""The vocabulary that every layer shares: classes, frozen dataclasses, no behaviour beyond shape checks."""

from dataclasses import dataclass, field, replace
from typing import Any, Literal, get_args

import numpy as np
import polars as pl
from numpy.typing import NDArray

from lesionlens.frames import FRAMES

Split = Literal["train", "validation", "test"]
SPLITS: tuple[Split, ...] = ("train", "validation", "test")

Baseline = Literal["whole_patch", "centred_disc", "mean_mask", "random_weights", "dealt_maps"]
BASELINES: tuple[Baseline, ...] = get_args(Baseline)
"""Names that baselines have for a method. The first three are the same for every sample (target 'none')."""
FILM_BASELINES: tuple[Baseline, ...] = tuple(name for name in BASELINES if name != "centred_disc")
"""Those of films: a lesion lies anywhere on one, so a disc in its middle shows nothing."""
FILM_MAPS = ("breast", "bright_blob", "sweep")
"""Maps of films beside which a model's stand: the whole breast, whatever is a bright blob, and what the patch run that
the model began with says of every place."""
CEILING = "ceiling"
"""Method of the annotation itself at the resolution of the model's maps: what could be reached, no baseline."""


@dataclass(frozen=True, slots=True)
class Label:
    """A class of a data set. `group` pools classes for reporting, for example calcification."""

    code: str
    name: str
    group: str
    ordinal: int
    is_lesion: bool


@dataclass(frozen=True, slots=True)
class Image:
    """A full image. `key` is unique in the data set; `path` is relative to its root, POSIX.

    `background` is the class of windows cut from it where it shows no lesion of a class; None: none are cut.
    """

    key: str
    patient: str
    path: str
    laterality: str | None = None
    view: str | None = None
    breast_density: int | None = None
    official_split: Split | None = None
    background: str | None = None

    @property
    def view_key(self) -> tuple[str, ...]:
        """(patient, laterality, view) where both are known: one mammogram may be in two case files under two keys."""
        if self.laterality is None or self.view is None:
            return (self.key,)
        return self.patient, self.laterality, self.view


@dataclass(frozen=True, slots=True)
class Outline:
    """An annotation as polygons of (x, y) in pixels, for an image of `size` (width, height); None: of its own size."""

    polygons: tuple[tuple[tuple[float, float], ...], ...]
    size: tuple[int, int] | None = None


@dataclass(frozen=True, slots=True)
class Lesion:
    """One row of a case file or manifest: an ROI of an image. `label` is its class code, None for no target class.

    Its annotation is a file, `mask_path`, or an `outline`. `mask_value` names what the file marks it with, None: as
    the study says. `margins`: how its margin is described, words joined by hyphens.
    """

    key: str
    image_key: str
    lesion_type: str | None
    pathology: str | None
    label: str | None
    mask_path: str | None
    official_split: Split | None = None
    abnormality_id: int | None = None
    subtlety: int | None = None
    assessment: int | None = None
    outline: Outline | None = None
    mask_value: str | None = None
    margins: str | None = None


@dataclass(frozen=True, slots=True)
class Exclusion:
    """Why a lesion (or, with `lesion_key` None, an image) yields no patch. `reason` is a short fixed code."""

    image_key: str
    lesion_key: str | None
    reason: str
    detail: str = ""


@dataclass(frozen=True, slots=True)
class DatasetIndex:
    """What a reader found. `digest` depends on the content (case files, file names and sizes), not on the place."""

    name: str
    kind: str
    digest: str
    labels: tuple[Label, ...]
    images: tuple[Image, ...]
    lesions: tuple[Lesion, ...]
    exclusions: tuple[Exclusion, ...] = ()


@dataclass(frozen=True, slots=True)
class Box:
    """Half-open pixel box: columns x0..x1, rows y0..y1."""

    x0: int
    y0: int
    x1: int
    y1: int

    @property
    def width(self) -> int:
        return self.x1 - self.x0

    @property
    def height(self) -> int:
        return self.y1 - self.y0


@dataclass(frozen=True, slots=True)
class ShownLesion:
    """A lesion that a sample shows, and its box x0, y0, x1, y1 in the sample's pixels."""

    key: str
    box: tuple[float, float, float, float]


@dataclass(frozen=True, slots=True, eq=False)
class Sample:
    """What a model sees once: a window of an image, resized (a patch), or a whole film.

    pixels uint8 [h, w]; mask bool, a patch's of the same shape, a film's of a quarter of its sides, None for
    background; window and lesion_box in full-image pixels; mask_fraction is the proportion of window pixels (before
    resizing) inside the mask, None for background. `key` is unique in the sample set and the same for the same content.
    breast: where a film shows the breast, of the mask's shape; None for patches. lesions: all that a film shows.
    """

    key: str
    label: str
    image_key: str
    lesion_key: str | None
    patient: str
    split: Split
    window: Box
    lesion_box: Box | None
    mask_fraction: float | None
    pixels: NDArray[np.uint8]
    mask: NDArray[np.bool_] | None
    breast: NDArray[np.bool_] | None = None
    lesions: tuple[ShownLesion, ...] = ()


@dataclass(frozen=True, slots=True, eq=False)
class Overview:
    """A whole image small: pixels uint8 [h, w], its longer side 320."""

    image_key: str
    pixels: NDArray[np.uint8]


@dataclass(frozen=True, slots=True)
class ImageSize:
    """Width and height of a full image in pixels, found when it was decoded, and the digest of its pixels."""

    image_key: str
    width: int
    height: int
    pixels: str = ""


@dataclass(frozen=True, slots=True)
class LeakCheck:
    """How many patients, images or lesions are in both of two splits. `examples` names at most ten of them.

    `pixels`: images of the same pixels, whatever their names.
    """

    entity: Literal["patient", "image", "lesion", "pixels"]
    split_a: Split
    split_b: Split
    shared: int
    examples: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Statistics:
    """Mean and standard deviation of grey values in [0, 1] over the training split; label None: all classes."""

    label: str | None
    mean: float
    std: float


@dataclass(frozen=True, slots=True, eq=False)
class SampleArrays:
    """A sample set as arrays, in ascending sample id.

    ids int64 [n]; pixels uint8 [n, h, w], of films a file in memory; masks bool [n, rows, cols] (all False for
    background), rows and cols those of the pixels divided by `scale`; labels int64 [n] (label ordinals); splits,
    patients str [n]; has_mask bool [n]; statistics: rows as stored with the sample set; classes: label codes by
    ordinal. breasts bool [n, rows, cols]: where films show the breast; None for patches.
    """

    digest: str
    classes: tuple[str, ...]
    ids: NDArray[np.int64]
    pixels: NDArray[np.uint8]
    masks: NDArray[np.bool_]
    labels: NDArray[np.int64]
    splits: NDArray[np.str_]
    patients: NDArray[np.str_]
    has_mask: NDArray[np.bool_]
    groups: tuple[str, ...]
    statistics: tuple[Statistics, ...]
    breasts: NDArray[np.bool_] | None = None

    @property
    def scale(self) -> int:
        """Pixels of a sample per pixel of its mask, along each side: 1 for patches, 4 for films."""
        return int(self.pixels.shape[1] // self.masks.shape[1])

    def split(self, name: Split) -> "SampleArrays":
        """The samples of one split, same order."""
        keep = self.splits == name
        names = ("ids", "pixels", "masks", "labels", "splits", "patients", "has_mask")
        kept: dict[str, Any] = {each: getattr(self, each)[keep] for each in names}
        return replace(self, **kept, breasts=None if self.breasts is None else self.breasts[keep])


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """A safetensors file beside the record; path relative to the checkpoint folder, POSIX."""

    role: Literal["best", "last"]
    phase: int
    epoch: int
    path: str
    sha256: str
    bytes: int


@dataclass(frozen=True, slots=True)
class EpochResult:
    """One finished epoch. `epoch` counts from 1 through all phases of a run, `phase` from 1.

    rates: learning rate by unit name. improved: whether validation loss fell enough to count for early
    stopping. checkpoints: what is on disk after this epoch. A detector has no validation_accuracy, but validation_froc:
    its mean sensitivity at 0.25 to 4 false marks per film.
    """

    phase: int
    epoch: int
    train_loss: float
    validation_loss: float
    validation_accuracy: float | None
    seconds: float
    rates: dict[str, float]
    improved: bool
    checkpoints: tuple[Checkpoint, ...]
    validation_froc: float | None = None


@dataclass(frozen=True, slots=True, eq=False)
class Evaluation:
    """Everything one evaluation of one run computed: `frames` by the names of FRAMES, with its schemas.

    `occlusions`, `swaps` and `randomisations` may be empty: without lesions, or where not asked for; `marks` and
    `detections` are of films. Raises
    ValueError where a frame is missing or its columns are others.
    """

    frames: dict[str, pl.DataFrame]

    def __post_init__(self) -> None:
        for name, schema in FRAMES.items():
            if name not in self.frames or self.frames[name].schema != pl.Schema(schema):
                raise ValueError(f"evaluation: frame {name} must have the columns {', '.join(schema)}")


@dataclass(frozen=True, slots=True, eq=False)
class ReportData:
    """One read of the record: what a report shows. `frames` by name, and the SQL that gave them by the same names."""

    study: dict[str, Any]
    frames: dict[str, pl.DataFrame] = field(default_factory=dict)
    sql: dict[str, str] = field(default_factory=dict)
