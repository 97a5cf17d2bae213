"""The text files of a phantom data set: case files and `dicom_info.csv`, columns and quirks of the Kaggle edition."""

import csv
import io
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

from lesionlens.phantom.plan import Case, Finding, Kind, OfficialSplit, uid

Role = Literal["full", "crop", "mask"]

DESCRIPTION: dict[Role, str] = {
    "full": "full mammogram images",
    "crop": "cropped images",
    "mask": "ROI mask images",
}
CASE_COLUMNS: dict[Kind, str] = {
    "mass": (
        "patient_id,breast_density,left or right breast,image view,abnormality id,abnormality type,mass shape,"
        "mass margins,assessment,pathology,subtlety,image file path,cropped image file path,ROI mask file path"
    ),
    "calc": (
        "patient_id,breast density,left or right breast,image view,abnormality id,abnormality type,calc type,"
        "calc distribution,assessment,pathology,subtlety,image file path,cropped image file path,ROI mask file path"
    ),
}
INFO_COLUMNS = (
    "file_path,image_path,AccessionNumber,BitsAllocated,BitsStored,BodyPartExamined,Columns,ContentDate,ContentTime,"
    "ConversionType,HighBit,InstanceNumber,LargestImagePixelValue,Laterality,Modality,PatientBirthDate,PatientID,"
    "PatientName,PatientOrientation,PatientSex,PhotometricInterpretation,PixelRepresentation,ReferringPhysicianName,"
    "Rows,SOPClassUID,SOPInstanceUID,SamplesPerPixel,SecondaryCaptureDeviceManufacturer,"
    "SecondaryCaptureDeviceManufacturerModelName,SeriesDescription,SeriesInstanceUID,SeriesNumber,"
    "SmallestImagePixelValue,SpecificCharacterSet,StudyDate,StudyID,StudyInstanceUID,StudyTime"
)
CONSTANT = {
    "ConversionType": "WSD",
    "InstanceNumber": "1",
    "Modality": "MG",
    "PhotometricInterpretation": "MONOCHROME2",
    "PixelRepresentation": "0",
    "SOPClassUID": "1.2.840.10008.5.1.4.1.1.7",
    "SamplesPerPixel": "1",
    "SecondaryCaptureDeviceManufacturer": "MathWorks",
    "SecondaryCaptureDeviceManufacturerModelName": "MATLAB",
    "SeriesNumber": "1",
    "SpecificCharacterSet": "ISO_IR 100",
    "StudyID": "DDSM",
}
UNDESCRIBED = 18  # one file in so many lacks SeriesDescription and Laterality: 566 of 10,237 in the real table


@dataclass(frozen=True, slots=True)
class Picture:
    """One JPEG of a case. `finding` is None for the full mammogram; `name` is its file name in the series folder."""

    role: Role
    finding: Finding | None
    study: str
    series: str
    name: str

    @property
    def path(self) -> str:
        """Relative to the root of the data set, POSIX."""
        return f"jpeg/{self.series}/{self.name}"


def pictures(case: Case, seed: int) -> tuple[Picture, ...]:
    """The full mammogram, then crop and mask of every finding. Neither name nor prefix tells the role."""

    def digits(*parts: object) -> int:
        return int(uid(seed, case.name, *parts)[-9:])

    def numbered(prefix: int, role: Role, n: int) -> str:
        return f"{prefix}-{1 + digits('number', role, n) % 280:03d}.jpg"

    full = Picture("full", None, uid(seed, case.name, "study"), uid(seed, case.name, "series"), numbered(1, "full", 0))
    found = [full]
    for finding in case.findings:
        n = finding.abnormality
        crop_first = digits("order", n) % 2 == 0
        roles: tuple[Role, Role] = ("crop", "mask")
        for role in roles:
            own = role if finding.apart else "both"
            prefix = 1 if finding.apart or (role == "crop") == crop_first else 2
            study, series = uid(seed, case.name, n, own, "study"), uid(seed, case.name, n, own, "series")
            found.append(Picture(role, finding, study, series, numbered(prefix, role, n)))
    return tuple(found)


def case_file(cases: Iterable[Case], kind: Kind, split: OfficialSplit, seed: int) -> bytes:
    """One of the four case files: CRLF, and one quoted path in every row that ends in a newline."""
    lines = [CASE_COLUMNS[kind]]
    for case in cases:
        if (case.kind, case.split) != (kind, split):
            continue
        full, *parts = pictures(case, seed)
        for finding, crop, mask in zip(case.findings, parts[::2], parts[1::2], strict=True):
            fields = [case.patient, case.density, case.side, case.view, finding.abnormality]
            fields += ["mass" if kind == "mass" else "calcification", *finding.words, finding.assessment]
            fields += [case.pathology, finding.subtlety, f"{case.name}/{full.study}/{full.series}/000000.dcm"]
            fields += _roi_paths(case, finding, crop, mask)
            lines.append(",".join(map(str, fields)))
    return "".join(line + "\r\n" for line in lines).encode()


def _roi_paths(case: Case, finding: Finding, crop: Picture, mask: Picture) -> list[str]:
    """Crop and mask path. In mass files the crop is file 000000, in calcification files the mask is."""
    folder = f"{case.name}_{finding.abnormality}"
    crop_number, mask_number = (0, 1) if case.kind == "mass" else (1, 0)
    if finding.apart:
        crop_number = mask_number = 0
    crop_path = f"{folder}/{crop.study}/{crop.series}/{crop_number:06d}.dcm"
    mask_path = f"{folder}/{mask.study}/{mask.series}/{mask_number:06d}.dcm"
    if case.kind == "mass":
        return [crop_path, f'"{mask_path}\n"']
    return [f'"{crop_path}\n"', mask_path]


def info_row(case: Case, picture: Picture, columns: int, rows: int, darkest: int, seed: int) -> dict[str, str]:
    """The row of `dicom_info.csv` for one JPEG of `columns` x `rows` pixels. Constants are those of the real table."""
    suffix = "" if picture.finding is None else f"_{picture.finding.abnormality}"
    bits = 8 if picture.role == "mask" else 16
    noise = int(uid(seed, picture.path, "info")[-9:])
    described = noise % UNDESCRIBED != 0
    plain = f"{case.patient}_{case.side}_{case.view}{suffix}.dcm"
    clock = f"{noise % 24:02d}{noise // 24 % 60:02d}{noise // 1440 % 60:02d}"
    return (
        dict.fromkeys(INFO_COLUMNS.split(","), "")
        | CONSTANT
        | {
            "file_path": f"CBIS-DDSM/dicom/{picture.series}/{picture.name.removesuffix('.jpg')}.dcm",
            "image_path": f"CBIS-DDSM/{picture.path}",
            "BitsAllocated": str(bits),
            "BitsStored": str(bits),
            "BodyPartExamined": "BREAST" if described else f"{case.side.capitalize()} Breast",
            "Columns": str(columns),
            "ContentDate": "20160426" if case.kind == "mass" else "20160503",
            "ContentTime": f"{clock}.000000",
            "HighBit": str(bits - 1),
            "LargestImagePixelValue": str(2**bits - 1),
            "Laterality": case.side[0] if described else "",
            "PatientID": f"{case.name}{suffix}" if described else plain,
            "PatientName": f"{case.name}{suffix}" if described else f"{case.patient}^{case.patient}",
            "PatientOrientation": case.view,
            "Rows": str(rows),
            "SOPInstanceUID": uid(seed, picture.path, "instance"),
            "SeriesDescription": DESCRIPTION[picture.role] if described else "",
            "SeriesInstanceUID": picture.series,
            "SmallestImagePixelValue": str(darkest * 257 if bits == 16 else darkest),
            "StudyDate": "20160720" if described else "",
            "StudyInstanceUID": picture.study,
            "StudyTime": clock if described else "",
        }
    )


def info_file(rows: Iterable[dict[str, str]]) -> bytes:
    """`dicom_info.csv`: LF, ordered by series, which is no order at all."""
    text = io.StringIO()
    writer = csv.DictWriter(text, INFO_COLUMNS.split(","), lineterminator="\n")
    writer.writeheader()
    writer.writerows(sorted(rows, key=lambda row: row["image_path"]))
    return text.getvalue().encode()
