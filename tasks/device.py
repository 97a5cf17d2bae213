"""Which device a run works on, by a name that no other device in the world has, and its slots."""

import os
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
from tasks.cancellation import Wanted


@contextmanager
def device_slot(engine: Engine, execution: ExecutionConfig) -> Iterator[str]:
    """The device to work on, once fewer than `runs_per_device` others work on it, in whatever flow, study or process.

    Several machines that share a record count each device by itself.
    """
    device = choose_device(execution.device)
    if device == "cpu":
        keep_freed_memory()
    name = device_name(device)
    wanted, told = Wanted(), False

    def wait() -> None:
        nonlocal told
        if not told:
            get_run_logger().info("All %d slots of %s are taken: waiting", execution.runs_per_device, name)
            told = True
        wanted.check()

    wanted.check()
    with slot(engine, name, execution.runs_per_device, wait):
        yield device


def device_name(device: str) -> str:
    """The GPU's own number, whatever CUDA_VISIBLE_DEVICES calls it; for the CPU, the machine's name.

    `LESIONLENS_MACHINE` names a machine whose host name is not its own, a container's for example.
    """
    if device == "cuda":
        return f"GPU {torch.cuda.get_device_properties(torch.cuda.current_device()).uuid}"
    return f"CPU of {os.environ.get('LESIONLENS_MACHINE') or socket.gethostname()}"
