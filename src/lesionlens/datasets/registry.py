"""One entry to all readers: from the configuration of a data set to its index."""

from contextlib import suppress
from pathlib import Path

from lesionlens.config import DataConfig, StudyConfig
from lesionlens.datasets.cbis import read_dicom_edition, read_kaggle
from lesionlens.datasets.cbis_files import find_bases
from lesionlens.datasets.dicom_tree import find_case_files
from lesionlens.datasets.manifest import read_manifest
from lesionlens.records import DatasetIndex

MANIFESTS = ("manifest.csv", "manifest.parquet")


def read_index(config: DataConfig, root: Path) -> DatasetIndex:
    """What the data set at `root` holds. ValueError, with a remedy, where there is none or it can't be trusted."""
    if not root.is_dir():
        raise ValueError(f"{root} is no folder: name the folder of the data set")
    if config.source == "auto":
        config = recognise(root)
    if config.source == "manifest":
        return read_manifest(root, config.manifest)
    if config.source == "cbis_dicom":
        return read_dicom_edition(root)
    return read_kaggle(root)


def recognised(config: StudyConfig) -> StudyConfig:
    """The study with its data named by what the folder holds, where it says `auto`.

    ValueError where the folder holds no data set, or one that the study's options do not fit.
    """
    if config.data.source != "auto":
        return config
    assert config.data.root is not None  # the configuration refuses a missing root
    return StudyConfig.model_validate(config.model_dump() | {"data": recognise(config.data.root)})


def recognise(root: Path) -> DataConfig:
    """How the files at `root` are laid out: a manifest, the Kaggle edition or the DICOM edition of CBIS-DDSM.

    ValueError where it is none of them.
    """
    for name in MANIFESTS:
        if (root / name).is_file():
            return DataConfig(source="manifest", root=root, manifest=name)
    if find_bases(root):
        return DataConfig(source="cbis_kaggle", root=root)
    with suppress(ValueError):
        find_case_files(root)
        return DataConfig(source="cbis_dicom", root=root)
    raise ValueError(
        f"{root} holds neither {' or '.join(MANIFESTS)}, nor csv/ and jpeg/ (CBIS-DDSM from Kaggle), nor the case files"
        " of CBIS-DDSM (DICOM from TCIA or IDC); docs/data.md says what goes where"
    )
