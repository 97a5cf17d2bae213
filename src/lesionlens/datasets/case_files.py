"""The four case files of CBIS-DDSM: one row per ROI."""

from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Literal

from lesionlens.datasets.csv_table import read_table

Kind = Literal["mass", "calc"]
OfficialSplit = Literal["train", "test"]

KINDS: tuple[Kind, ...] = ("mass", "calc")
OFFICIAL_SPLITS: tuple[OfficialSplit, ...] = ("train", "test")
PATHOLOGIES = ("BENIGN", "BENIGN_WITHOUT_CALLBACK", "MALIGNANT")
DENSITY: dict[Kind, str] = {"mass": "breast_density", "calc": "breast density"}
COLUMNS = (
    "patient_id", "left or right breast", "image view", "abnormality id", "assessment", "pathology", "subtlety",
    "image file path", "cropped image file path", "ROI mask file path",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class CaseRow:
    """One ROI. Series are folder names, the third component of a path. `refused` says which path can't be trusted."""

    kind: Kind
    split: OfficialSplit
    place: str
    patient: str
    side: str
    view: str
    density: int | None
    abnormality: int
    pathology: str
    assessment: int | None
    subtlety: int | None
    image_series: str
    mask_series: str
    crop_series: str
    refused: str = ""

    @property
    def image_key(self) -> str:
        """As the data set names its cases: `Mass-Training_P_00001_LEFT_CC`."""
        split = "Training" if self.split == "train" else "Test"
        return f"{self.kind.capitalize()}-{split}_{self.patient}_{self.side}_{self.view}"

    @property
    def lesion_key(self) -> str:
        return f"{self.image_key}_{self.abnormality}"


def case_file_names() -> tuple[str, ...]:
    """In the order in which rows are read: by split, mass before calcification."""
    return tuple(f"{kind}_case_description_{split}_set.csv" for split in OFFICIAL_SPLITS for kind in KINDS)


def read_case_files(folder: Path, root: Path) -> tuple[CaseRow, ...]:
    """All rows: training before test, mass before calcification, in file order.

    ValueError, naming file, line and remedy, for a missing file or column, text that is not UTF-8, an unknown
    pathology, side or view, a number that is none, and two rows about the same ROI.
    """
    rows: list[CaseRow] = []
    places: dict[str, str] = {}
    for split in OFFICIAL_SPLITS:
        for kind in KINDS:
            path = folder / f"{kind}_case_description_{split}_set.csv"
            for line, fields in read_table(path, root, (*COLUMNS, DENSITY[kind])):
                row = _row(kind, split, f"{path} line {line}", fields)
                if row.lesion_key in places:
                    raise ValueError(
                        f"{row.place}: {row.lesion_key} again, after {places[row.lesion_key]}; delete one of them"
                    )
                places[row.lesion_key] = row.place
                rows.append(row)
    return tuple(rows)


def _row(kind: Kind, split: OfficialSplit, place: str, fields: dict[str, str]) -> CaseRow:
    def among(column: str, allowed: tuple[str, ...]) -> str:
        if fields[column] not in allowed:
            raise ValueError(
                f"{place}: {column} is {fields[column]!r}, not one of {', '.join(allowed)}; correct the row"
            )
        return fields[column]

    def number(column: str) -> int | None:
        if fields[column] in ("", "N/A"):
            return None
        if not (fields[column].isascii() and fields[column].isdigit()) or len(fields[column]) > 4:
            raise ValueError(f"{place}: {column} is {fields[column]!r}, not a small number; correct the row")
        return int(fields[column])

    patient, abnormality = fields["patient_id"], number("abnormality id")
    if not patient or abnormality is None:
        raise ValueError(f"{place}: patient_id or abnormality id is empty; correct the row")
    series = [_series(fields[c]) for c in ("image file path", "ROI mask file path", "cropped image file path")]
    refused = next(
        (fields[c] for c, s in zip(COLUMNS[-3:], (series[0], series[2], series[1]), strict=True) if not s), ""
    )
    return CaseRow(
        kind=kind,
        split=split,
        place=place,
        patient=patient,
        side=among("left or right breast", ("LEFT", "RIGHT")),
        view=among("image view", ("CC", "MLO")),
        density=number(DENSITY[kind]),
        abnormality=abnormality,
        pathology=among("pathology", PATHOLOGIES),
        assessment=number("assessment"),
        subtlety=number("subtlety"),
        image_series=series[0],
        mask_series=series[1],
        crop_series=series[2],
        refused=refused,
    )


def _series(path: str) -> str:
    """Third component of `<case>/<study>/<series>/<file>`, empty where the path can't be trusted."""
    parts = PurePosixPath(path).parts
    plain = len(parts) == 4 and not path.startswith("/") and ".." not in parts and not set(path) & set("\\\0:")
    return parts[2] if plain else ""
