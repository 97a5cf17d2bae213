"""What every part of the configuration is: frozen pydantic models; an unknown field is an error.

How fast and where a study runs changes no number and is not here: lesionlens.settings.
"""

from pydantic import BaseModel, ConfigDict


class Frozen(BaseModel):
    """Immutable; unknown fields are refused."""

    model_config = ConfigDict(frozen=True, extra="forbid")
