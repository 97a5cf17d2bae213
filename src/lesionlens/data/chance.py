"""Random generators by name: the same seed and names give the same numbers, whatever else is drawn."""

import numpy as np

from lesionlens.identity import digest


def generator(seed: int, *names: str) -> np.random.Generator:
    """A generator of its own for what `names` say, for example ("jitter", lesion key)."""
    return np.random.default_rng(int(digest(seed, *names)[:32], 16))
