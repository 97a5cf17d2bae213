"""An ordered map over processes with a bounded number of jobs in flight."""

import ctypes
import logging
import multiprocessing
import os
import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ProcessPoolExecutor
from itertools import islice
from types import TracebackType
from typing import Self, TypeVar

Job = TypeVar("Job")
Result = TypeVar("Result")

M_TRIM_THRESHOLD, M_MMAP_THRESHOLD = -1, -3  # malloc.h of glibc
NEVER = 2**31 - 1
MMAP_THRESHOLDS = (1 << 30, 32 << 20)  # older versions of glibc accept no more than the second
PRELOAD = ("lesionlens.samples.cutting", "lesionlens.phantom.dataset")  # what is mapped in processes
AHEAD = 3  # jobs in flight per process: enough to keep all busy, few enough to bound memory


class Processes:
    """A context that maps in `workers` processes (0: one per usable core; 1: in this process).

    They start with the first job and are forked from a server of one thread, since the caller may have many. The
    server has imported PRELOAD, which takes seconds, once for all. A container without /dev/shm has no semaphores for
    them: there all is done in this process, with a warning.
    """

    def __init__(self, workers: int) -> None:
        self.workers = workers or len(os.sched_getaffinity(0))
        self._pool: ProcessPoolExecutor | None = None

    def __enter__(self) -> Self:
        keep_freed_memory()
        if self.workers > 1:
            context = multiprocessing.get_context("forkserver")
            context.set_forkserver_preload(list(PRELOAD))
            if have_semaphores(self.workers):
                self._pool = ProcessPoolExecutor(self.workers, context, _start_process)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._pool is not None:
            self._pool.shutdown(cancel_futures=True)

    def map(self, function: Callable[[Job], Result], jobs: Iterable[Job]) -> Iterator[Result]:
        """Results in the order of `jobs`, taken lazily; what is in flight is dropped when the caller stops early."""
        if self._pool is None:
            yield from map(function, jobs)
            return
        waiting = iter(jobs)
        flying: deque[Future[Result]] = deque()
        try:
            for job in islice(waiting, AHEAD * self.workers):
                flying.append(self._pool.submit(function, job))
            while flying:
                result = flying.popleft().result()
                for job in islice(waiting, 1):
                    flying.append(self._pool.submit(function, job))
                yield result
        finally:
            for future in flying:
                future.cancel()


def have_semaphores(workers: int) -> bool:
    """Whether the system has what processes share work with; where /dev/shm is missing or closed, a warning says so."""
    try:
        multiprocessing.get_context("spawn").Lock()
    except (OSError, ImportError) as error:  # ImportError: Python was built where there are none
        logging.getLogger(__name__).warning("one process instead of %d: /dev/shm: %s", workers, error)
        return False
    return True


def keep_freed_memory() -> bool:
    """Let the C library reuse freed memory instead of returning it to the system; whether it agreed (only glibc does).

    By default glibc maps every large block anew, and the kernel clears its pages: half as much time as decoding a
    mammogram, a third of an evaluation. The process then stays as large as it ever was. Numbers do not change.
    """
    adjust = getattr(ctypes.CDLL(None), "mallopt", None)
    if adjust is None:
        return False
    return any(adjust(M_MMAP_THRESHOLD, size) for size in MMAP_THRESHOLDS) and bool(adjust(M_TRIM_THRESHOLD, NEVER))


def _start_process() -> None:
    keep_freed_memory()
    end_with_parent()


def end_with_parent() -> None:
    """End this process as soon as the one that started it has ended, by whatever cause: it would wait for ever."""
    parent = multiprocessing.parent_process()

    def follow() -> None:
        if parent is not None:
            parent.join()
            os._exit(1)

    threading.Thread(target=follow, name="end with parent", daemon=True).start()
