"""The four case files of CBIS-DDSM, one row per annotated lesion: their names, columns and words."""

from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from typing import Annotated, Literal

from pydantic import AliasChoices, BaseModel, BeforeValidator, ConfigDict, Field, ValidationError

from lesionlens.datasets.tables import read_table

Kind = Literal["mass", "calc"]
OfficialSplit = Literal["train", "test"]
Side = Literal["LEFT", "RIGHT"]
View = Literal["CC", "MLO"]
Pathology = Literal["BENIGN", "BENIGN_WITHOUT_CALLBACK", "MALIGNANT"]

# In the order in which rows are read.
CASE_FILES: dict[tuple[OfficialSplit, Kind], str] = {
    ("train", "mass"): "mass_case_description_train_set.csv",
    ("train", "calc"): "calc_case_description_train_set.csv",
    ("test", "mass"): "mass_case_description_test_set.csv",
    ("test", "calc"): "calc_case_description_test_set.csv",
}
COLUMNS: dict[Kind, tuple[str, ...]] = {
    "mass": (
        "patient_id", "breast_density", "left or right breast", "image view", "abnormality id", "abnormality type",
        "mass shape", "mass margins", "assessment", "pathology", "subtlety", "image file path",
        "cropped image file path", "ROI mask file path",
    ),
    "calc": (
        "patient_id", "breast density", "left or right breast", "image view", "abnormality id", "abnormality type",
        "calc type", "calc distribution", "assessment", "pathology", "subtlety", "image file path",
        "cropped image file path", "ROI mask file path",
    ),
}  # fmt: skip
UNUSED = slice(5, 8)  # columns that describe the lesion in words
Number = Annotated[
    Annotated[int, Field(ge=0, le=9999)] | None, BeforeValidator(lambda text: None if text in ("", "N/A") else text)
]


class CaseRow(BaseModel):
    """One row; `place` is its file and line. Paths are `<case>/<study>/<series>/<file>`."""

    model_config = ConfigDict(frozen=True)

    kind: Kind
    split: OfficialSplit
    place: str
    patient: str = Field(alias="patient_id", min_length=1)
    side: Side = Field(alias="left or right breast")
    view: View = Field(alias="image view")
    density: Number = Field(validation_alias=AliasChoices("breast_density", "breast density"))
    abnormality: int = Field(alias="abnormality id", ge=0, le=9999)
    pathology: Pathology
    assessment: Number
    subtlety: Number
    margins: str | None = Field(None, alias="mass margins")
    image_path: str = Field(alias="image file path")
    crop_path: str = Field(alias="cropped image file path")
    mask_path: str = Field(alias="ROI mask file path")

    @property
    def image_key(self) -> str:
        return case_name(self.kind, self.split, self.patient, self.side, self.view)

    @property
    def lesion_key(self) -> str:
        return f"{self.image_key}_{self.abnormality}"

    @property
    def refused_path(self) -> str | None:
        """The first path that names no series, None where all do."""
        return next((path for path in (self.image_path, self.crop_path, self.mask_path) if not series_of(path)), None)


def case_name(kind: Kind, split: OfficialSplit, patient: str, side: Side, view: View) -> str:
    """A mammogram as the data set names it: `Mass-Training_P_00001_LEFT_CC`."""
    return f"{kind.capitalize()}-{'Training' if split == 'train' else 'Test'}_{patient}_{side}_{view}"


def series_of(path: str) -> str:
    """The folder of a file's series, third component of its path; empty where the path can't be trusted."""
    parts = PurePosixPath(path).parts
    plain = len(parts) == 4 and not path.startswith("/") and ".." not in parts and not set(path) & set("\\\0:")
    return parts[2] if plain else ""


def read_case_files(folder: Path, root: Path) -> tuple[CaseRow, ...]:
    """All rows: training before test, mass before calcification, in file order.

    ValueError, naming file, line and remedy, for a missing file or column, text that is not UTF-8, an unknown
    pathology, side or view, a number that is none, and two rows about the same lesion.
    """
    places: dict[str, str] = {}
    rows = tuple(_rows(folder, root))
    for row in rows:
        first = places.setdefault(row.lesion_key, row.place)
        if first != row.place:
            raise ValueError(f"{row.place}: {row.lesion_key} again, after {first}; delete one of them")
    return rows


def _rows(folder: Path, root: Path) -> Iterator[CaseRow]:
    for (split, kind), name in CASE_FILES.items():
        required = tuple(column for column in COLUMNS[kind] if column not in COLUMNS[kind][UNUSED])
        for place, fields in read_table(folder / name, root, required):
            try:
                yield CaseRow.model_validate(fields | {"kind": kind, "split": split, "place": place})
            except ValidationError as error:
                first = error.errors()[0]
                what = f"{first['loc'][0]} is {first['input']!r}; {first['msg'].lower()}"
                raise ValueError(f"{place}: {what}; correct the row") from error
