"""CBIS-DDSM, JPEG and DICOM editions: case files and images of a folder to an index."""

from dataclasses import replace
from pathlib import Path

from lesionlens.datasets.case_files import CASE_FILES, CaseRow, read_case_files, series_of
from lesionlens.datasets.cbis_files import (
    Listing,
    SeriesFile,
    find_base,
    find_case_files,
    full_mammogram,
    list_dicom,
    list_kaggle,
    mask_of,
)
from lesionlens.identity import bytes_digest, digest
from lesionlens.images.image import UnusableImageError
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
}  # of a kind and pathology; BENIGN_WITHOUT_CALLBACK is no target class

MARGIN_LABELS = (
    Label("CM", "circumscribed mass", "mass", 0, True),
    Label("IM", "ill-defined mass", "mass", 1, True),
    Label("SM", "spiculated mass", "mass", 2, True),
)
MARGINS = {"CIRCUMSCRIBED": "CM", "ILL_DEFINED": "IM", "SPICULATED": "SM"}
NO_MARGIN = "no_margin_class"


def by_margins(index: DatasetIndex) -> DatasetIndex:
    """The same data set with the margins of masses as classes, and none without a lesion.

    A lesion of another kind or margin, or of several, has no class and an exclusion. The class that it had is its
    pathology where the data say nothing else. ValueError where no lesion has a margin.
    """
    words = {lesion.key: lesion.margins for lesion in index.lesions}
    if not any(words.values()):
        raise ValueError(
            f"{index.name}: no lesion has a margin, which data.classes needs: column 'mass margins' of the case files"
            " of masses, 'margins' of a manifest"
        )
    lesions = tuple(
        replace(lesion, label=MARGINS.get(lesion.margins or ""), pathology=lesion.pathology or lesion.label)
        for lesion in index.lesions
    )
    broken = [e for e in index.exclusions if e.lesion_key is None or words.get(e.lesion_key) in MARGINS]
    others = [
        Exclusion(lesion.image_key, lesion.key, NO_MARGIN, lesion.margins or lesion.lesion_type or "")
        for lesion in lesions
        if lesion.label is None
    ]
    return replace(
        index,
        digest=digest("margins", index.digest),
        labels=MARGIN_LABELS,
        images=tuple(replace(image, background=None) for image in index.images),
        lesions=lesions,
        exclusions=(*broken, *others),
    )


def read_kaggle(root: Path) -> DatasetIndex:
    """The index of the Kaggle edition at `root`, or in a folder one or two levels below it; see `_index`."""
    base = find_base(root)
    rows = read_case_files(base / "csv", root)
    paths = (path for row in rows for path in (row.image_path, row.mask_path, row.crop_path))
    listing = list_kaggle(root, base, dict.fromkeys(filter(None, map(series_of, paths))))
    return _index("cbis_kaggle", base / "csv", rows, listing)


def read_dicom_edition(root: Path) -> DatasetIndex:
    """The index of DICOM files anywhere below `root`, beside the four case files; see `_index`."""
    tables = find_case_files(root)
    if tables is None:
        raise ValueError(
            f"{root} holds no {next(iter(CASE_FILES.values()))}: put the four case files of CBIS-DDSM, offered beside"
            " the images, into it"
        )
    return _index("cbis_dicom", tables, read_case_files(tables, root), list_dicom(root))


def _index(kind: str, tables: Path, rows: tuple[CaseRow, ...], listing: Listing) -> DatasetIndex:
    """Rows and files, joined on the series.

    Lesions come in case-file order: training before test, mass before calcification. A lesion whose files are
    missing, ambiguous or refused has an exclusion. The digest depends on case files, file names and sizes.

    Raises ValueError, naming file, line and remedy, where rows contradict each other.
    """
    mammograms = _mammograms(rows, listing)
    files = [file for file in mammograms.values() if isinstance(file, SeriesFile)]
    lesions: list[Lesion] = []
    exclusions: list[Exclusion] = []
    for row in rows:
        mask = _mask(row, listing, mammograms[row.image_key])
        lesions.append(_lesion(row, mask.path if isinstance(mask, SeriesFile) else None))
        if isinstance(mask, SeriesFile):
            files.append(mask)
        else:
            exclusions.append(mask)
    content = [bytes_digest([(tables / name).read_bytes()]) for name in CASE_FILES.values()]
    sizes = [(file.name, _bytes(listing.root / file.path)) for file in files]
    identity = digest(kind, content, sizes, [(e.image_key, e.lesion_key, e.reason) for e in exclusions])
    images = _images(rows, mammograms, listing)
    return DatasetIndex("CBIS-DDSM", kind, identity, LABELS, images, tuple(lesions), tuple(exclusions))


def _mammograms(rows: tuple[CaseRow, ...], listing: Listing) -> dict[str, SeriesFile | UnusableImageError]:
    """The file of every image, or why there is none, by image key in order of appearance."""
    found: dict[str, SeriesFile | UnusableImageError] = {}
    series: dict[str, str] = {}
    for row in rows:
        key, name = row.image_key, series_of(row.image_path)
        if series.setdefault(key, name) != name:
            raise ValueError(f"{row.place}: {key} has another image file path than in a row before; correct it")
        if key not in found:
            try:
                found[key] = full_mammogram(listing, name)
            except UnusableImageError as error:
                found[key] = error
    return found


def _mask(row: CaseRow, listing: Listing, full: SeriesFile | UnusableImageError) -> SeriesFile | Exclusion:
    """The mask of a row, or why its lesion can't be used."""
    if row.refused_path is not None:
        detail = f"{row.refused_path!r} is not case/study/series/file"
        return Exclusion(row.image_key, row.lesion_key, "path_refused", detail)
    if isinstance(full, UnusableImageError):
        return Exclusion(row.image_key, row.lesion_key, f"image_{full.reason}", full.detail)
    try:
        return mask_of(listing, row, full)
    except UnusableImageError as error:
        return Exclusion(row.image_key, row.lesion_key, f"mask_{error.reason}", error.detail)


def _images(
    rows: tuple[CaseRow, ...], mammograms: dict[str, SeriesFile | UnusableImageError], listing: Listing
) -> tuple[Image, ...]:
    images: dict[str, Image] = {}
    with_lesion = {row.image_key for row in rows if (row.kind, row.pathology) in CODES}
    for row in rows:
        key, file = row.image_key, mammograms[row.image_key]
        path = file.path if isinstance(file, SeriesFile) else listing.places(series_of(row.image_path))
        background = None if key in with_lesion else LABELS[0].code
        images.setdefault(key, Image(key, row.patient, path, row.side, row.view, row.density, row.split, background))
    return tuple(images.values())


def _lesion(row: CaseRow, mask: str | None) -> Lesion:
    return Lesion(
        key=row.lesion_key,
        image_key=row.image_key,
        lesion_type="mass" if row.kind == "mass" else "calcification",
        pathology=row.pathology,
        label=CODES.get((row.kind, row.pathology)),
        mask_path=mask,
        official_split=row.split,
        abnormality_id=row.abnormality,
        subtlety=row.subtlety,
        assessment=row.assessment,
        margins=row.margins if row.kind == "mass" else None,
    )


def _bytes(path: Path) -> int:
    try:
        return path.stat().st_size
    except OSError:  # a link that leads nowhere: decoding will say so
        return 0
