"""Layouts of data sets that can be read: how each is recognised in a folder, and its reader."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

from lesionlens.config.data import DataConfig, Source
from lesionlens.config.study import StudyConfig
from lesionlens.datasets.cbis import by_margins, read_dicom_edition, read_kaggle
from lesionlens.datasets.cbis_files import find_bases, find_case_files
from lesionlens.datasets.coco import find_coco, read_coco
from lesionlens.datasets.manifest import MANIFESTS, find_manifest, read_manifest
from lesionlens.errors import one_line
from lesionlens.identity import digest
from lesionlens.records import DatasetIndex


@dataclass(frozen=True, slots=True)
class Layout:
    """`files` names for a person what `is_there` looks for in a folder; `read` raises ValueError with a remedy."""

    read: Callable[[Path], DatasetIndex]
    is_there: Callable[[Path], bool]
    files: str


PHANTOM = "phantom.json"
"""A file that marks a data set as drawn."""

# In the order in which a folder is looked through.
LAYOUTS: dict[Source, Layout] = {
    "manifest": Layout(read_manifest, lambda root: find_manifest(root) is not None, " or ".join(MANIFESTS)),
    "cbis_kaggle": Layout(read_kaggle, lambda root: bool(find_bases(root)), "csv/ and jpeg/ (CBIS-DDSM from Kaggle)"),
    "cbis_dicom": Layout(
        read_dicom_edition,
        lambda root: find_case_files(root) is not None,
        "the case files of CBIS-DDSM (DICOM from TCIA or IDC)",
    ),
    "coco": Layout(read_coco, lambda root: bool(find_coco(root)), "COCO files such as train.coco.json"),
}


def read_index(config: DataConfig, root: Path) -> DatasetIndex:
    """What the data set at `root` holds. ValueError, with a remedy, where there is none or it can't be trusted.

    Own data are named as configured, else like their folder. A phantom is one wherever it lies.
    """
    source = recognise(root) if config.source == "auto" else config.source
    _check_folder(root)
    try:
        index = LAYOUTS["cbis_kaggle" if source == "phantom" else source].read(root)  # a phantom is written like this
        if config.classes == "margins":
            index = by_margins(index)
    except ValueError as error:
        raise ValueError(one_line(str(error))) from error
    if (root / PHANTOM).is_file():
        return replace(index, name="phantom", kind="phantom", digest=digest("phantom", index.digest))
    own = source in ("manifest", "coco")
    return replace(index, name=config.name or root.resolve().name) if own else index


def resolve_source(config: StudyConfig) -> StudyConfig:
    """The study with its data named by what the folder holds, where it says `auto`.

    ValueError where the folder holds no data set, or one that the study's options do not fit.
    """
    if config.data.source != "auto":
        return config
    assert config.data.root is not None  # the configuration refuses a missing root
    data = config.data.model_copy(update={"source": recognise(config.data.root)})
    return StudyConfig.model_validate(config.model_dump() | {"data": data})


def recognise(root: Path) -> Source:
    """How the files at `root` are laid out. ValueError where they are in none of LAYOUTS."""
    _check_folder(root)
    found = next((source for source, layout in LAYOUTS.items() if layout.is_there(root)), None)
    if found is None:
        known = ", nor ".join(layout.files for layout in LAYOUTS.values())
        raise ValueError(f"{root} holds neither {known}; docs/data.md says what goes where")
    return found


def _check_folder(root: Path) -> None:
    if not root.is_dir():
        what = "a file" if root.exists() else "not there"
        raise ValueError(f"{root} is {what}: name the folder of the data set")
