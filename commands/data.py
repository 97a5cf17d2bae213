"""Data sets: obtained, and looked through before a study."""

from pathlib import Path
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from lesionlens.config.study import StudyConfig


def fetch(edition: Literal["kaggle", "idc"], folder: Path, /, *, yes: bool = False) -> None:
    """Obtain CBIS-DDSM.

    Says size and licence first, and asks. A stopped download goes on where it stopped.

    For example:

        lesionlens fetch kaggle /films

    Args:
        edition: kaggle: JPEG, about 6 GB; idc: DICOM, about 160 GB.
        folder: Where to.
        yes: Do not ask.
    """
    from lesionlens.datasets import download

    download.agree(edition, folder.resolve(), yes)
    print(download.fetch(edition, folder.resolve()))


def rehearse(config: "StudyConfig") -> None:
    """Say what a study with this configuration would do."""
    runs = config.grid.runs()
    print(f"Study {config.name}: {len(runs)} runs")
    for run in runs:
        print(f"  {config.grid.title(run)}")
