"""A sample set with more samples of the same patients."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from lesionlens.records import SampleArrays


def more_of_the_same(patches: SampleArrays, rows: Sequence[int]) -> SampleArrays:
    """The patches, and those at `rows` twice more: of the same patients, under new ids."""
    at = np.concatenate([np.arange(len(patches.ids)), rows, rows]).astype(np.int64)
    names = ("pixels", "masks", "labels", "splits", "patients", "has_mask")
    return replace(patches, ids=np.arange(len(at)), **{name: getattr(patches, name)[at] for name in names})
