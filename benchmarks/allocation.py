"""Memory as each side has it in use: lesionlens keeps what is freed, a script has glibc's defaults."""

import ctypes
from collections.abc import Iterator
from contextlib import contextmanager

from lesionlens.processes import M_MMAP_THRESHOLD, M_TRIM_THRESHOLD, keep_freed_memory

LARGEST = 32 << 20
"""Blocks above it come from the system, once glibc has seen one freed; twice as much may lie free at the heap's end."""


@contextmanager
def of_a_script() -> Iterator[None]:
    """glibc's own thresholds for the time of the block, as they settle in a process that frees large tensors."""
    library = ctypes.CDLL(None)
    library.mallopt(M_MMAP_THRESHOLD, LARGEST)
    library.mallopt(M_TRIM_THRESHOLD, 2 * LARGEST)
    library.malloc_trim(0)
    try:
        yield
    finally:
        keep_freed_memory()
