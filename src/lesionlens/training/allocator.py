"""Memory for tensors on a CPU, kept between steps instead of going back to the system after each."""

import ctypes
import sys

M_TRIM_THRESHOLD, M_MMAP_THRESHOLD = -1, -3  # of glibc's malloc.h
NEVER = 2**31 - 1
SIZES = (1 << 30, 32 << 20)  # older versions of glibc accept no more than the second


def keep_freed_memory() -> bool:
    """Let the C library of this process serve large blocks from memory it has; whether it agreed (only glibc does).

    By default glibc asks the kernel for each tensor above 32 MB and gives it back at once, and the kernel clears every
    page anew. The process then stays as large as it ever was, until it ends. Numbers do not change.
    """
    if not sys.platform.startswith("linux"):
        return False
    set_option = getattr(ctypes.CDLL(None), "mallopt", None)
    if set_option is None:
        return False
    return any(set_option(M_MMAP_THRESHOLD, size) for size in SIZES) and bool(set_option(M_TRIM_THRESHOLD, NEVER))
