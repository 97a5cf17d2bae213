"""The phantom's tables against the real ones: columns, line ends, quirks, vocabulary."""

import csv
import io
import re
from collections.abc import Callable
from pathlib import Path

import pytest

from lesionlens.config.data import PhantomConfig
from lesionlens.datasets.case_files import CASE_FILES, Kind, OfficialSplit
from lesionlens.phantom.files import case_file, files_of, info_file, info_row
from lesionlens.phantom.plan import plan

CONFIG = PhantomConfig(train_per_class=60, test_per_class=24, callback_free=60, seed=3)
UID = r"1\.3\.6\.1\.4\.1\.9590\.100\.1\.2\.\d{10,39}"
HEAD = r"P_\d{5},[0-4],(LEFT|RIGHT),(CC|MLO),\d,"
TAIL = r",[0-5],(MALIGNANT|BENIGN|BENIGN_WITHOUT_CALLBACK),[0-5],"
ROWS = {
    "mass": rf"{HEAD}mass,[A-Z_/-]+,[A-Z_/-]+{TAIL}Mass-\w+/{UID}/{UID}/000000.dcm,"
    rf'Mass-\w+_\d/{UID}/{UID}/000000.dcm,"Mass-\w+_\d/{UID}/{UID}/00000[01].dcm\n"\r\n',
    "calc": rf"{HEAD}calcification,[A-Z_/-]+,[A-Z_/-]+{TAIL}Calc-\w+/{UID}/{UID}/000000.dcm,"
    rf'"Calc-\w+_\d/{UID}/{UID}/00000[01].dcm\n",Calc-\w+_\d/{UID}/{UID}/000000.dcm\r\n',
}
FILES = [(kind, split) for split, kind in CASE_FILES]


@pytest.fixture(name="real")
def real_text(real: Path) -> Callable[[str], str]:
    """The text of a real file by its name."""
    return lambda name: (real / "csv" / name).read_bytes().decode()


def phantom(kind: Kind, split: OfficialSplit) -> str:
    return case_file(plan(CONFIG), kind, split, CONFIG.seed).decode()


def table(text: str) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(text, newline="")))


@pytest.fixture(scope="module")
def info() -> list[dict[str, str]]:
    rows = []
    for case in plan(CONFIG):
        rows += [info_row(case, file, 560, 900, 3, CONFIG.seed) for file in files_of(case, CONFIG.seed)]
    return table(info_file(rows).decode())


@pytest.mark.parametrize(("kind", "split"), FILES)
def test_case_files_have_the_real_form_to_the_byte(
    kind: Kind, split: OfficialSplit, real: Callable[[str], str]
) -> None:
    theirs = real(f"{kind}_case_description_{split}_set.csv")
    ours = phantom(kind, split)
    assert ours.split("\r\n")[0] == theirs.split("\r\n")[0]
    for text in (theirs, ours):
        body = text.partition("\r\n")[2]
        matched = [match.group() for match in re.finditer(ROWS[kind], body)]
        assert "".join(matched) == body


@pytest.mark.parametrize(("kind", "split"), FILES)
def test_words_occur_in_the_real_files(kind: Kind, split: OfficialSplit, real: Callable[[str], str]) -> None:
    theirs = table(real(f"{kind}_case_description_train_set.csv"))
    ours = table(phantom(kind, split))
    first, second = ("mass shape", "mass margins") if kind == "mass" else ("calc type", "calc distribution")
    for column in (first, second, "pathology", "assessment", "subtlety", "abnormality type", "image view"):
        assert {row[column] for row in ours} <= {row[column] for row in theirs}
    assert any(row[second] == "N/A" for row in ours)


@pytest.mark.parametrize("kind", ["mass", "calc"])
def test_file_number_tells_the_role_as_little_as_in_the_real_files(kind: Kind, real: Callable[[str], str]) -> None:
    texts = phantom(kind, "train"), real(f"{kind}_case_description_train_set.csv")
    for row in table(texts[0]) + table(texts[1]):
        crop = row["cropped image file path"].strip().split("/")
        mask = row["ROI mask file path"].strip().split("/")
        names = (crop[3], mask[3])
        if crop[2] != mask[2]:
            assert names == ("000000.dcm", "000000.dcm")
        else:
            together = ("000000.dcm", "000001.dcm") if kind == "mass" else ("000001.dcm", "000000.dcm")
            assert names == together
    split = [
        r
        for r in table(phantom("mass", "train"))
        if r["cropped image file path"].split("/")[2] != r["ROI mask file path"].split("/")[2]
    ]
    assert 0.02 < len(split) / len(table(phantom("mass", "train"))) < 0.15


def test_some_patients_have_two_findings_some_ids_start_at_two() -> None:
    ids = [tuple(f.abnormality for f in case.findings) for case in plan(CONFIG)]
    assert {(1,), (1, 2), (2,)} <= set(ids)


def test_dicom_info_has_the_real_columns_and_constants(info: list[dict[str, str]], real: Callable[[str], str]) -> None:
    text = real("dicom_info_excerpt.csv")
    theirs = table(text)
    assert list(info[0]) == text.split("\n")[0].split(",")
    assert len(info) == len({row["image_path"] for row in info})
    steady = [c for c in theirs[0] if len({row[c] for row in theirs}) == 1]
    assert len(steady) >= 15
    for column in steady:
        assert {row[column] for row in info} == {theirs[0][column]}, column
    described = [row for row in info if row["SeriesDescription"]]
    for role in ("full mammogram images", "cropped images", "ROI mask images"):
        real_row = next(row for row in theirs if row["SeriesDescription"] == role)
        for row in described:
            if row["SeriesDescription"] == role:
                for column in ("BitsAllocated", "BitsStored", "HighBit", "LargestImagePixelValue", "BodyPartExamined"):
                    assert row[column] == real_row[column]


def test_undescribed_rows_lack_what_the_real_ones_lack(info: list[dict[str, str]], real: Callable[[str], str]) -> None:
    excerpt = table(real("dicom_info_excerpt.csv"))
    model = next(row for row in excerpt if not row["SeriesDescription"])
    bare = [row for row in info if not row["SeriesDescription"]]
    assert 0.03 < len(bare) / len(info) < 0.09
    for row in bare:
        assert {c for c, value in row.items() if not value} == {c for c, value in model.items() if not value}
        assert re.fullmatch(r"P_\d{5}_(LEFT|RIGHT)_(CC|MLO)(_\d)?\.dcm", row["PatientID"])
        assert re.fullmatch(r"(Left|Right) Breast", row["BodyPartExamined"])
    roles = {(row["BitsAllocated"], bool(re.search(r"_\d\.dcm$", row["PatientID"]))) for row in bare}
    assert roles == {("16", False), ("16", True), ("8", True)}  # full, crop, mask can still be told apart


def test_image_paths_do_not_tell_the_role(info: list[dict[str, str]]) -> None:
    for row in info:
        assert re.fullmatch(rf"CBIS-DDSM/jpeg/{UID}/[12]-\d{{3}}\.jpg", row["image_path"])
        assert len(row["SeriesInstanceUID"]) <= 64
    prefixes = {(r["SeriesDescription"], r["image_path"].split("/")[-1][0]) for r in info if r["SeriesDescription"]}
    assert {(d, p) for d in ("cropped images", "ROI mask images") for p in "12"} <= prefixes
