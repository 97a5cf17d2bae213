"""Where all state lives: record, caches, checkpoints, reports, Prefect's home."""

import os
from dataclasses import dataclass
from pathlib import Path

import platformdirs


@dataclass(frozen=True)
class Home:
    """Folders under one root. Nothing is created until `ensure` is called."""

    root: Path

    @property
    def record(self) -> Path:
        """Data folder of the embedded PostgreSQL."""
        return self.root / "record"

    @property
    def cache(self) -> Path:
        """Derived data (features); may be deleted at any time."""
        return self.root / "cache"

    @property
    def checkpoints(self) -> Path | str:
        """Model weights beside the record; their digests are in it. `LESIONLENS_CHECKPOINTS` if set: folder or URL."""
        named = os.environ.get("LESIONLENS_CHECKPOINTS")
        if not named:
            return self.root / "checkpoints"
        return named if "://" in named else Path(named).expanduser().absolute()

    @property
    def reports(self) -> Path:
        """Rendered HTML; derived, also kept in the record."""
        return self.root / "reports"

    @property
    def prefect(self) -> Path:
        """Prefect's home: its server database, profiles and logs."""
        return self.root / "prefect"

    @property
    def phantom(self) -> Path:
        """Synthetic data sets; derived, may be deleted at any time."""
        return self.root / "phantom"

    def ensure(self) -> "Home":
        """Create the root, readable by its owner only where it is new."""
        self.root.mkdir(parents=True, exist_ok=True, mode=0o700)
        return self


def home() -> Home:
    """`LESIONLENS_HOME` if set, /var/lib/lesionlens for root, else the user's data folder."""
    named = os.environ.get("LESIONLENS_HOME")
    if named:
        return Home(Path(named).expanduser().resolve())
    if os.geteuid() == 0:
        return Home(Path("/var/lib/lesionlens"))
    return Home(Path(platformdirs.user_data_dir("lesionlens")))
