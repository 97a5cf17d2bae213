"""Data set, annotation, patches, background and splits."""

from pathlib import Path
from typing import Literal, Self

from pydantic import Field, field_validator, model_validator

from lesionlens.config.base import Frozen

Source = Literal["auto", "cbis_kaggle", "cbis_dicom", "manifest", "coco", "phantom"]

MARKED = r"^(auto|nonzero|zero|alpha|[0-9]{1,5}|#[0-9a-fA-F]{6})$"
"""What may name the marked part of a mask."""


class PhantomConfig(Frozen):
    """A synthetic data set in CBIS-DDSM's Kaggle layout."""

    height: int = Field(900, ge=200, le=6000, description="Height of a full mammogram in pixels; its width is 28/45")
    train_per_class: int = Field(60, ge=2, description="Patients per lesion class in the training split")
    test_per_class: int = Field(24, ge=1, description="Patients per lesion class in the test split")
    callback_free: int = Field(60, ge=2, description="Patients with BENIGN_WITHOUT_CALLBACK findings, split likewise")
    confounder: float = Field(
        0.0,
        ge=0,
        le=1,
        description="Probability that a malignant ROI has a bright cross beside it; no other ROI ever has one",
    )
    margins: bool = Field(
        False,
        description="Masses alone, in equal parts circumscribed, ill-defined and spiculated, drawn as they are called",
    )
    seed: int = Field(0, ge=0, description="Same seed, same bytes")

    @property
    def width(self) -> int:
        """Width of a full mammogram in pixels, in the format of an 18 x 24 cm film without its margins."""
        return round(self.height * 28 / 45)


class DataConfig(Frozen):
    """Which data set, and where."""

    source: Source = Field(
        "auto",
        description="auto: what the folder holds; CBIS-DDSM as JPEG (Kaggle) or DICOM (TCIA, IDC); images listed in a"
        " manifest, or in COCO JSON; or drawn",
    )
    name: str | None = Field(
        None, min_length=1, max_length=80, description="Name of own data in reports; without one, the folder's"
    )
    root: Path | None = Field(None, description="Folder of the data set; not used for the phantom")
    classes: Literal["own", "margins"] = Field(
        "own",
        description="own: those of the data set, of CBIS-DDSM by kind and pathology; margins: masses that are"
        " circumscribed, ill-defined or spiculated and nothing beside, by CBIS-DDSM or the column of a manifest",
    )
    positive: tuple[str, ...] = Field(
        (),
        description="Classes of the positive side of the diagnosis, against all other lesion classes; none: recognised"
        " from pathologies or names that begin with MALIGNANT and BENIGN",
    )
    phantom: PhantomConfig = Field(default_factory=PhantomConfig, description="Used when source is phantom")

    @field_validator("root")
    @classmethod
    def _home_of_the_user(cls, root: Path | None) -> Path | None:
        """A shell does not expand a tilde in quotes."""
        try:
            return root and root.expanduser()
        except RuntimeError as error:
            raise ValueError(f"{root}: there is no such user's home; write the path out") from error

    @model_validator(mode="after")
    def _root_where_needed(self) -> Self:
        if self.source != "phantom" and self.root is None:
            raise ValueError("data.root is missing: name the folder of the data set")
        return self


class AnnotationConfig(Frozen):
    """What marks the lesion in a mask."""

    marked: str = Field(
        "auto",
        pattern=MARKED,
        description="auto: what plainly marks it; or nonzero, zero, alpha, a value or palette index, a colour #rrggbb",
    )
    most: float = Field(0.6, gt=0, le=1, description="Largest proportion of an image that a mask may mark")


class PatchConfig(Frozen):
    """Patches around lesions."""

    size: int = Field(224, ge=32, le=1024, description="Side of a stored patch in pixels")
    frame: Literal["lesion", "image"] = Field(
        "lesion",
        description="lesion: windows in proportion to the lesion (the study); image: windows that are `size` pixels of"
        " the film as `images` makes it, so that a network of films may start from the patches' one",
    )
    copies: int = Field(
        1, ge=1, le=30, description="With frame image: training windows of a lesion, each with nine tenths of it"
    )
    context: float = Field(3.0, ge=1, le=10, description="Window side divided by lesion box side")
    aspect: Literal["keep", "stretch"] = Field(
        "keep", description="Square windows, or windows of the lesion box's shape stretched to squares (the study)"
    )
    per: Literal["image", "lesion"] = Field(
        "lesion", description="One patch per image and class (the study), or one per lesion"
    )
    component: Literal["all", "each"] = Field(
        "all", description="All marked pixels as one lesion (the study), or each connected component"
    )
    jitter: float = Field(
        0.0,
        ge=0,
        le=1,
        description="How far the lesion may lie from the centre: 0 centred, 1 anywhere in the window",
    )


FILM_SCALE = 4
"""Pixels of a film per pixel of its masks, along each side."""


class ImageConfig(Frozen):
    """Whole films."""

    height: int = Field(1152, ge=64, le=4096, multiple_of=FILM_SCALE, description="Height of a film in pixels")
    width: int = Field(896, ge=64, le=4096, multiple_of=FILM_SCALE, description="Width of a film in pixels")
    fit: Literal["stretch", "pad"] = Field(
        "stretch",
        description="Films of another shape are stretched (as published), or padded with black on both sides",
    )


class BackgroundConfig(Frozen):
    """Patches of classes without lesions."""

    size: int | Literal["matched"] = Field(
        550, description="Window side in pixels, or drawn from the lesion windows' sizes"
    )
    min_mean: float = Field(70 / 3, ge=0, le=255, description="Least mean grey of a window")
    per_image: int = Field(4, ge=1, le=100, description="Most windows taken from one image")
    train: int = Field(644, ge=1, description="Background patches of a class wanted for training and validation")
    test: int = Field(310, ge=1, description="Background patches of a class wanted for test")


class SplitConfig(Frozen):
    """Training, validation and test."""

    rule: Literal["paper", "official", "sound", "given"] = Field(
        "sound", description="Who goes to test; given: as official, and no validation split is drawn"
    )
    group: Literal["patch", "patient"] = Field(
        "patient", description="What stays together between train and validation"
    )
    validation: float = Field(0.15, gt=0, lt=0.5, description="Proportion of the training split used for validation")
    test: float = Field(
        0.2, gt=0, lt=0.9, description="Proportion of patients for test where the data set has no splits of its own"
    )
