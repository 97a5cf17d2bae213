"""The text files of a phantom data set: case files and `dicom_info.csv`, columns and quirks of the Kaggle edition."""

import csv
import io
from collections.abc import Iterable
from dataclasses import dataclass

from lesionlens.datasets.case_files import COLUMNS, Kind, OfficialSplit
from lesionlens.datasets.cbis_files import DESCRIPTIONS, Role
from lesionlens.phantom.plan import Case, Finding, uid

INFO_HEADER = (
    "file_path,image_path,AccessionNumber,BitsAllocated,BitsStored,BodyPartExamined,Columns,ContentDate,ContentTime,"
    "ConversionType,HighBit,InstanceNumber,LargestImagePixelValue,Laterality,Modality,PatientBirthDate,PatientID,"
    "PatientName,PatientOrientation,PatientSex,PhotometricInterpretation,PixelRepresentation,ReferringPhysicianName,"
    "Rows,SOPClassUID,SOPInstanceUID,SamplesPerPixel,SecondaryCaptureDeviceManufacturer,"
    "SecondaryCaptureDeviceManufacturerModelName,SeriesDescription,SeriesInstanceUID,SeriesNumber,"
    "SmallestImagePixelValue,SpecificCharacterSet,StudyDate,StudyID,StudyInstanceUID,StudyTime"
)
INFO_COLUMNS = INFO_HEADER.split(",")
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
class PhantomFile:
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


def files_of(case: Case, seed: int) -> tuple[PhantomFile, ...]:
    """The full mammogram, then crop and mask of every finding. Neither name nor prefix gives the role away."""

    def digits(*parts: object) -> int:
        return int(uid(seed, case.name, *parts)[-9:])

    def file(role: Role, finding: Finding | None, n: int, prefix: int, *series: object) -> PhantomFile:
        name = f"{prefix}-{1 + digits('number', role, n) % 280:03d}.jpg"
        study, folder = (uid(seed, case.name, *series, of) for of in ("study", "series"))
        return PhantomFile(role, finding, study, folder, name)

    found = [file("full", None, 0, 1)]
    for finding in case.findings:
        n = finding.abnormality
        first = "crop" if digits("order", n) % 2 == 0 else "mask"
        roles: tuple[Role, Role] = ("crop", "mask")
        for role in roles:
            prefix = 1 if finding.apart or role == first else 2
            found.append(file(role, finding, n, prefix, n, role if finding.apart else "both"))
    return tuple(found)


def case_file(cases: Iterable[Case], kind: Kind, split: OfficialSplit, seed: int) -> bytes:
    """One of the four case files: CRLF, and one quoted path in every row that ends in a newline."""
    lines = [",".join(COLUMNS[kind])]
    for case in cases:
        if (case.kind, case.split) != (kind, split):
            continue
        full, *rest = files_of(case, seed)
        for finding, crop, mask in zip(case.findings, rest[::2], rest[1::2], strict=True):
            fields = [case.patient, case.density, case.side, case.view, finding.abnormality]
            fields += ["mass" if kind == "mass" else "calcification", *finding.words, finding.assessment]
            fields += [case.pathology, finding.subtlety, f"{case.name}/{full.study}/{full.series}/000000.dcm"]
            fields += _paths(case, finding, crop, mask)
            lines.append(",".join(map(str, fields)))
    return "".join(line + "\r\n" for line in lines).encode()


def _paths(case: Case, finding: Finding, crop: PhantomFile, mask: PhantomFile) -> list[str]:
    """Crop and mask path. In mass files the crop is file 000000, in calcification files the mask is."""
    first = crop if case.kind == "mass" else mask

    def path(file: PhantomFile) -> str:
        number = 0 if finding.apart or file is first else 1
        named = f"{case.name}_{finding.abnormality}/{file.study}/{file.series}/{number:06d}.dcm"
        return named if file is first else f'"{named}\n"'

    return [path(crop), path(mask)]


def info_row(case: Case, file: PhantomFile, columns: int, rows: int, darkest: int, seed: int) -> dict[str, str]:
    """The row of `dicom_info.csv` for one JPEG of `columns` x `rows` pixels. Constants are those of the real table."""
    suffix = "" if file.finding is None else f"_{file.finding.abnormality}"
    bits = 8 if file.role == "mask" else 16
    noise = int(uid(seed, file.path, "info")[-9:])
    described = noise % UNDESCRIBED != 0
    plain = f"{case.patient}_{case.side}_{case.view}{suffix}.dcm"
    clock = f"{noise % 24:02d}{noise // 24 % 60:02d}{noise // 1440 % 60:02d}"
    values = {
        "file_path": f"CBIS-DDSM/dicom/{file.series}/{file.name.removesuffix('.jpg')}.dcm",
        "image_path": f"CBIS-DDSM/{file.path}",
        "BitsAllocated": bits,
        "BitsStored": bits,
        "BodyPartExamined": "BREAST" if described else f"{case.side.capitalize()} Breast",
        "Columns": columns,
        "ContentDate": "20160426" if case.kind == "mass" else "20160503",
        "ContentTime": f"{clock}.000000",
        "HighBit": bits - 1,
        "LargestImagePixelValue": 2**bits - 1,
        "Laterality": case.side[0] if described else "",
        "PatientID": f"{case.name}{suffix}" if described else plain,
        "PatientName": f"{case.name}{suffix}" if described else f"{case.patient}^{case.patient}",
        "PatientOrientation": case.view,
        "Rows": rows,
        "SOPInstanceUID": uid(seed, file.path, "instance"),
        "SeriesDescription": DESCRIPTIONS[file.role] if described else "",
        "SeriesInstanceUID": file.series,
        "SmallestImagePixelValue": darkest * 257 if bits == 16 else darkest,
        "StudyDate": "20160720" if described else "",
        "StudyInstanceUID": file.study,
        "StudyTime": clock if described else "",
    }
    return dict.fromkeys(INFO_COLUMNS, "") | CONSTANT | {name: str(value) for name, value in values.items()}


def info_file(rows: Iterable[dict[str, str]]) -> bytes:
    """`dicom_info.csv`: LF, ordered by series, which is no order at all."""
    text = io.StringIO()
    writer = csv.DictWriter(text, INFO_COLUMNS, lineterminator="\n")
    writer.writeheader()
    writer.writerows(sorted(rows, key=lambda row: row["image_path"]))
    return text.getvalue().encode()
