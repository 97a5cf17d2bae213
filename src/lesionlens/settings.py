"""Environment variables of lesionlens, and the folders of its home: record, caches, checkpoints, reports."""

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

import platformdirs
from pydantic import Field, SecretStr, ValidationError, field_validator
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict


def _default_home() -> Path:
    if os.geteuid() == 0:
        return Path("/var/lib/lesionlens")
    try:
        return Path(platformdirs.user_data_dir("lesionlens"))
    except RuntimeError as error:
        raise ValueError(f"{error}. Name the folder of all state: LESIONLENS_HOME") from None


class Settings(BaseSettings):
    """Every variable `LESIONLENS_<NAME>`; one that is empty counts as unset."""

    model_config = SettingsConfigDict(env_prefix="LESIONLENS_", env_ignore_empty=True, frozen=True)

    home: Path = Field(default_factory=_default_home, description="Folder of all state")
    data: Path | None = Field(None, description="Data set of the deployments; cbis-ddsm in the home if unset")
    weights: Path | None = Field(None, description="Folder of ImageNet weights, looked in before torch's own")
    checkpoints: str | None = Field(None, description="Folder or URL of checkpoints; checkpoints in the home if unset")
    database_url: SecretStr | None = Field(None, description="PostgreSQL of the record; the embedded one if unset")
    port: int | None = Field(None, ge=1, le=65535, description="Port of Prefect's server; 4200 if unset")
    device: Literal["auto", "cpu", "cuda"] = Field("auto", description="Where networks run; auto takes cuda if there")
    workers: int = Field(0, ge=0, description="Processes that decode images; 0 for one per core")
    runs_per_device: int = Field(
        1, ge=1, le=64, description="Runs trained or evaluated at once on one device, over all studies"
    )
    keep: Literal["best", "all"] = Field(
        "best",
        description="Checkpoints of finished runs: best weights alone, or also the last ones, both with Adam's moments",
    )
    loggers: Annotated[tuple[Literal["tensorboard", "mlflow"], ...], NoDecode] = Field(
        (), description="What else is told of every epoch, with a comma between: tensorboard, mlflow"
    )
    run_timeout: float = Field(
        86_400, gt=0, description="Seconds after which a run is given up as hanging; not on Dask"
    )
    dask_scheduler: str | None = Field(
        None, description="Dask scheduler that trains and evaluates, such as tcp://host:8786; this machine if unset"
    )

    @field_validator("loggers", mode="before")
    @classmethod
    def _split(cls, text: object) -> object:
        return [name.strip() for name in text.split(",") if name.strip()] if isinstance(text, str) else text


def settings() -> Settings:
    """The environment as it is now. ValueError in one line, without the values, where it cannot be used."""
    try:
        return Settings()
    except ValidationError as error:
        wrong = [f"LESIONLENS_{str(found['loc'][0]).upper()}: {found['msg']}" for found in error.errors()]
        raise ValueError("; ".join(wrong)) from None  # the cause would show a value, which may be a password


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
        """Model weights beside the record; their digests are in it. A folder, or a URL where one is named."""
        named = settings().checkpoints
        if named is None:
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

    @property
    def precision(self) -> Path:
        """What `training.precision: auto` measured and took on this machine."""
        return self.root / "precision.json"

    def ensure(self) -> "Home":
        """Create the root, readable by its owner only where it is new. ValueError where nothing can be kept in it."""
        try:
            self.root.mkdir(parents=True, exist_ok=True, mode=0o700)
            reason = "" if os.access(self.root, os.W_OK | os.X_OK) else "it is read-only here, or another user's"
        except OSError as error:
            reason = str(error.strerror)
        if reason:
            raise ValueError(f"{self.root} cannot be the folder of all state: {reason}. Name another: LESIONLENS_HOME")
        return self


def home() -> Home:
    """`LESIONLENS_HOME` if set, /var/lib/lesionlens for root, else the user's data folder. ValueError if unknown."""
    named = settings().home
    try:
        return Home(named.expanduser().resolve())
    except (RuntimeError, OSError) as error:  # no such user, a user without a home, a link to itself
        raise ValueError(
            f"{named} leads to no folder ({error}). Name the folder of all state: LESIONLENS_HOME"
        ) from None
