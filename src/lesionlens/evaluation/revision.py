"""Which evaluations are the same: by their options, their seed, and the code that computes them."""

from lesionlens.config import StudyConfig
from lesionlens.identity import digest

REVISION = 2
"""Raised by every change of this code after which the same options give other numbers, or more of them."""


def evaluation_digest(config: StudyConfig) -> str:
    """Identity of a study's evaluations: 64 hex characters. Evaluations of an older revision have another one."""
    return digest("evaluation", REVISION, config.evaluation, config.seed)
