"""A sample set as arrays, read from the record once per process."""

from functools import lru_cache

from db import datasets
from db.engine import make_engine
from lesionlens.records import SampleArrays


@lru_cache(maxsize=1)
def patches_of(sample_set_id: int) -> SampleArrays:
    """All patches of a set. A sample set never changes, so the last one read is kept."""
    with make_engine().connect() as connection:
        return datasets.load_samples(connection, sample_set_id)
