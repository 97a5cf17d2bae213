"""A patch set as arrays, read from the record once per process."""

from functools import lru_cache

from db import read
from db.engine import make_engine
from lesionlens.records import PatchArrays


@lru_cache(maxsize=1)
def patches_of(patch_set_id: int) -> PatchArrays:
    """All patches of a set. A patch set never changes, so the last one read is kept."""
    with make_engine().connect() as connection:
        return read.load_patches(connection, patch_set_id)
