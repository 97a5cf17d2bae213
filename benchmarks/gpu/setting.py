"""How large everything is that is measured: on a GPU, and in a rehearsal on a CPU."""

import time
from dataclasses import dataclass
from pathlib import Path

import torch


@dataclass(frozen=True, slots=True)
class Setting:
    """size: pixels of a patch. steps: of a measured epoch. films: height and width. at_once: runs beside each other.

    peers: whether Lightning is measured, too.
    """

    device: str
    folder: Path
    size: int = 224
    batch: int = 16
    steps: int = 40
    backbones: tuple[str, ...] = ("resnet50", "vgg19")
    grid: tuple[str, ...] = ("vgg16", "vgg19", "resnet34", "resnet50")
    batches: tuple[int, ...] = (8, 16, 32)
    films: tuple[int, int] = (1152, 896)
    film_backbone: str = "resnet50"
    film_batches: tuple[int, ...] = (2, 8)
    at_once: tuple[int, ...] = (1, 2, 4, 8)
    workers: int = 8

    def clock(self) -> float:
        """Wall time when the device has finished what was asked of it."""
        if self.device == "cuda":
            torch.cuda.synchronize()
        return time.perf_counter()

    @property
    def name(self) -> str:
        """The device, as its maker calls it."""
        return torch.cuda.get_device_name() if self.device == "cuda" else "CPU, rehearsal"


def tiny(folder: Path) -> Setting:
    """Everything once, on a CPU, in half a minute."""
    return Setting(
        "cpu", folder, size=64, batch=4, steps=2, backbones=("resnet18",), grid=("resnet18",), batches=(4,),
        films=(96, 64), film_backbone="resnet18", film_batches=(2,), at_once=(2,), workers=0,
    )  # fmt: skip
