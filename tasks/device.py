"""The device that a run works on, and how many runs may work on it at once."""

import socket
from collections.abc import Iterator
from contextlib import contextmanager

import torch
from prefect import get_run_logger
from sqlalchemy import Engine

from db.locks import slot
from lesionlens.config import ExecutionConfig
from lesionlens.processes import keep_freed_memory
from lesionlens.training.fit import choose_device
from tasks.progress import stop_if_cancelled


@contextmanager
def device_slot(engine: Engine, execution: ExecutionConfig) -> Iterator[str]:
    """The device to work on, once fewer than `runs_per_device` other runs work on it, in any study or process.

    The limit is held in the record, so it holds for all processes of a machine; machines have devices of their own.
    StoppedError if the flow run is cancelled while it waits.
    """
    device = choose_device(execution.device)
    if device == "cpu":
        keep_freed_memory()
    name, waiting = device_name(device), False

    def wait() -> None:
        nonlocal waiting
        if not waiting:
            get_run_logger().info("All %d slots of %s are taken: waiting", execution.runs_per_device, name)
            waiting = True
        stop_if_cancelled()

    stop_if_cancelled()
    with slot(engine, name, execution.runs_per_device, wait):
        yield device


def device_name(device: str) -> str:
    """A name that identifies the device over all machines: the GPU's UUID, or the host name for the CPU."""
    if device == "cuda":  # CUDA_VISIBLE_DEVICES renumbers GPUs, the UUID stays
        return f"GPU {torch.cuda.get_device_properties(torch.cuda.current_device()).uuid}"
    return f"CPU of {socket.gethostname()}"
