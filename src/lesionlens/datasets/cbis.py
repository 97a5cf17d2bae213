"""CBIS-DDSM, JPEG and DICOM editions: case files and series of pictures to an index.

Rows and files are joined on the series. Roles of files come from their DICOM headers (`dicom_info.csv` in the Kaggle
edition); where these are silent or contradict themselves, from the pictures: a mask has two values and its
mammogram's shape.
"""

from pathlib import Path

from lesionlens.datasets.case_files import CaseRow, case_file_names, read_case_files
from lesionlens.datasets.cbis_files import KaggleFiles, RoiFiles, find_base
from lesionlens.datasets.dicom_tree import DicomTree, find_case_files
from lesionlens.identity import bytes_digest, digest
from lesionlens.records import DatasetIndex, Exclusion, Image, Label, Lesion

LABELS = (
    Label("B", "background", "background", 0, False),
    Label("BC", "benign calcification", "calcification", 1, True),
    Label("BM", "benign mass", "mass", 2, True),
    Label("MC", "malignant calcification", "calcification", 3, True),
    Label("MM", "malignant mass", "mass", 4, True),
)
CODES = {
    ("calc", "BENIGN"): "BC",
    ("mass", "BENIGN"): "BM",
    ("calc", "MALIGNANT"): "MC",
    ("mass", "MALIGNANT"): "MM",
}

# The published study's test split (protocol section 5): of one group of classes, training patches in place of the
# official test split.
MOVED_GROUP = "calcification"
MOVED = 110  # training patches moved to test, of each class of the group
SMALLEST = 468  # the group's smaller class in the official training split; scales MOVED for smaller data sets
LEFT_OUT = "the study used no official test patch of a calcification"


def read_kaggle(root: Path) -> DatasetIndex:
    """The index of the Kaggle edition at `root`, or in a folder one or two levels below it; see `_index`."""
    base = find_base(root)
    return _index("cbis_kaggle", root, base / "csv", KaggleFiles(root, base))


def read_dicom_edition(root: Path) -> DatasetIndex:
    """The index of DICOM files anywhere below `root`, beside the four case files; see `_index`."""
    tables = find_case_files(root)
    return _index("cbis_dicom", root, tables, DicomTree(root))


def _index(kind: str, root: Path, tables: Path, listing: KaggleFiles | DicomTree) -> DatasetIndex:
    """Case files and pictures as an index.

    Lesions come in case-file order: training before test, mass before calcification. A lesion whose files are
    missing, ambiguous or refused has an exclusion. The digest depends on case files, file names and sizes.

    Raises ValueError, naming file, line and remedy, where the tables can't be trusted.
    """
    rows = read_case_files(tables, root)
    files = RoiFiles(listing)
    images, full = _images(rows, files)
    lesions = []
    exclusions = []
    for row in rows:
        mask = None
        problem = _refusal(row) or full[row.image_key][1]
        if problem is None:
            mask, problem = files.mask(row, full[row.image_key][0])
        if problem is not None:
            exclusions.append(Exclusion(row.image_key, row.lesion_key, *problem))
        lesions.append(_lesion(row, mask))
    used = [i.path for i in images] + [lesion.mask_path for lesion in lesions if lesion.mask_path]
    content = [bytes_digest([(tables / name).read_bytes()]) for name in case_file_names()]
    reasons = [(e.image_key, e.lesion_key, e.reason) for e in exclusions]
    identity = digest(kind, content, [listing.identity(path) for path in used], reasons)
    return DatasetIndex("CBIS-DDSM", kind, identity, LABELS, tuple(images), tuple(lesions), tuple(exclusions))


def lesion_label(kind: str, pathology: str) -> str | None:
    """Class code, None for BENIGN_WITHOUT_CALLBACK."""
    return CODES.get((kind, pathology))


def _images(
    rows: tuple[CaseRow, ...], files: RoiFiles
) -> tuple[list[Image], dict[str, tuple[str, tuple[str, str] | None]]]:
    """Images in order of appearance; path and problem (reason, detail) by image key."""
    images: list[Image] = []
    full: dict[str, tuple[str, tuple[str, str] | None]] = {}
    series: dict[str, str] = {}
    with_lesion = {row.image_key for row in rows if lesion_label(row.kind, row.pathology) is not None}
    for row in rows:
        if series.setdefault(row.image_key, row.image_series) != row.image_series:
            raise ValueError(
                f"{row.place}: {row.image_key} has another image file path than in a row before; correct it"
            )
        if row.image_key not in full:
            full[row.image_key] = files.full(row.image_series)
            path = full[row.image_key][0]
            background = None if row.image_key in with_lesion else LABELS[0].code
            images.append(
                Image(row.image_key, row.patient, path, row.side, row.view, row.density, row.split, background)
            )
    return images, full


def _lesion(row: CaseRow, mask: str | None) -> Lesion:
    return Lesion(
        key=row.lesion_key,
        image_key=row.image_key,
        lesion_type="mass" if row.kind == "mass" else "calcification",
        pathology=row.pathology,
        label=lesion_label(row.kind, row.pathology),
        mask_path=mask,
        official_split=row.split,
        abnormality_id=row.abnormality,
        subtlety=row.subtlety,
        assessment=row.assessment,
    )


def _refusal(row: CaseRow) -> tuple[str, str] | None:
    return ("path_refused", f"{row.refused!r} is not case/study/series/file") if row.refused else None
