"""Convolutions as lesionlens computes them beside torch's own: 3 x 3 by Winograd's way, forward and with both
gradients, and others of which a part is computed by another way.

    python -m benchmarks.convolutions [--threads 1] [--rounds 5]

Shapes are those of ResNet50 and VGG19 at 224 (batches of 16) and of ResNet50 on films of 576 x 448 (batches of 8). CPU
seconds, in turns; those that lesionlens leaves to oneDNN are shown, too (models/arithmetic.py).
"""

import argparse
from collections.abc import Callable
from functools import partial

import torch
from torch import Tensor

from benchmarks.interleaved import interleaved, ratios, spread
from lesionlens.models.arithmetic import float32
from lesionlens.models.winograd import Winograd
from lesionlens.processes import keep_freed_memory

SHAPES = {
    "ResNet50 at 224, layer 1": (16, 64, 56, 56),
    "ResNet50 at 224, layer 2": (16, 128, 28, 28),
    "ResNet50 at 224, layer 3": (16, 256, 14, 14),
    "ResNet50 at 224, layer 4": (16, 512, 7, 7),
    "VGG19 at 224, block 2": (16, 128, 112, 112),
    "VGG19 at 224, block 3": (16, 256, 56, 56),
    "VGG19 at 224, block 4": (16, 512, 28, 28),
    "VGG19 at 224, block 5": (16, 512, 14, 14),
    "ResNet50 on films, layer 1": (8, 64, 144, 112),
    "ResNet50 on films, layer 2": (8, 128, 72, 56),
    "ResNet50 on films, layer 3": (8, 256, 36, 28),
    "ResNet50 on films, layer 4": (8, 512, 18, 14),
}
OTHERS = {
    "films, first layer": (8, 3, 576, 448, 64, 7, 2),
    "patches of 224, first layer": (16, 3, 224, 224, 64, 7, 2),
    "patches of 224, first layer of VGG": (16, 3, 224, 224, 64, 3, 1),
    "films, layer 1, to four times the channels": (8, 64, 144, 112, 256, 1, 1),
    "films, layer 2, to four times the channels": (8, 128, 72, 56, 512, 1, 1),
    "films, layer 2, stride 2": (8, 128, 144, 112, 128, 3, 2),
    "films, to layer 4 beside it": (8, 1024, 36, 28, 2048, 1, 2),
    "patches of 224, layer 1, to four times the channels": (16, 64, 56, 56, 256, 1, 1),
    "patches of 224, layer 4, stride 2": (16, 512, 14, 14, 512, 3, 2),
    "patches of 224, layer 4, to a quarter of the channels": (16, 2048, 7, 7, 512, 1, 1),
}
"""Samples, channels, height, width, kernels, side of a kernel, stride; three channels are one grey value."""
WAYS: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
    "Winograd": lambda images, weight: Winograd.apply(images, weight, None),
    "oneDNN": lambda images, weight: torch.conv2d(images, weight, None, 1, 1, 1, 1),
}


def step(way: str, images: Tensor, weight: Tensor, gradient: Tensor) -> list[Tensor]:
    """The output, and the gradients of images and weight."""
    found = WAYS[way](images, weight)
    return [found.detach(), *torch.autograd.grad(found, (images, weight), gradient)]


def measure(name: str, samples: int, channels: int, height: int, width: int, rounds: int) -> None:
    """Print one shape's ratios, how far both ways lie apart, and which of them lesionlens takes."""
    images = torch.randn(samples, channels, height, width).contiguous(memory_format=torch.channels_last)
    weight = (torch.randn(channels, channels, 3, 3) / (3 * channels**0.5)).contiguous(memory_format=torch.channels_last)
    gradient = torch.randn_like(images)
    with torch.no_grad():
        forward = interleaved({way: partial(compute, images, weight) for way, compute in WAYS.items()}, rounds)
    leaves = images.requires_grad_(), weight.requires_grad_()
    whole = interleaved({way: partial(step, way, *leaves, gradient) for way in WAYS}, rounds)
    sides = zip(*(step(way, *leaves, gradient) for way in WAYS), strict=True)
    apart = max(float((ours - theirs).abs().max() / theirs.abs().max()) for ours, theirs in sides)
    with float32():
        taken = "Winograd" in type(WAYS["oneDNN"](*leaves).grad_fn).__name__
    first, both = (spread(ratios(seconds, "Winograd", "oneDNN")) for seconds in (forward, whole))
    way = "Winograd" if taken else "oneDNN"
    print(f"{name:27s} {samples} x {channels} x {height} x {width}: forward x {first}, with gradients x {both}; "
          f"apart by {apart:.1e} of the largest; {way} is taken", flush=True)  # fmt: skip


def measure_other(name: str, shape: tuple[int, int, int, int], kernels: int, side: int, by: int, rounds: int) -> None:
    """Print how many times as long torch takes forward and for either gradient, and how far both ways lie apart."""
    samples, channels, height, width = shape
    grey = channels == 3
    values = torch.randn(samples, 1 if grey else channels, height, width).contiguous(memory_format=torch.channels_last)
    weight = torch.randn(kernels, channels, side, side).contiguous(memory_format=torch.channels_last)

    def forward(way: str, values: Tensor, weight: Tensor) -> Tensor:
        images = values.expand(-1, channels, -1, -1) if grey else values
        if way == "torch":
            return torch.conv2d(images.contiguous(memory_format=torch.channels_last), weight, None, by, side // 2, 1, 1)
        with float32():
            return torch.conv2d(images, weight, None, by, side // 2, 1, 1)

    ways = ("lesionlens", "torch")
    found = {"forward": interleaved({way: partial(forward, way, values, weight) for way in ways}, rounds)}
    gradient, apart = torch.randn_like(forward("torch", values, weight)), []
    for of in ("pixels", "weight"):  # alone: what asks for a gradient gets one
        leaves = (values.requires_grad_(of == "pixels"), weight.requires_grad_(of == "weight"))
        outputs = {way: forward(way, *leaves) for way in ways}

        def learn(way: str, outputs: dict[str, Tensor] = outputs, leaf: Tensor = leaves[of == "weight"]) -> Tensor:
            return torch.autograd.grad(outputs[way], leaf, gradient, retain_graph=True)[0]

        found[of] = interleaved({way: partial(learn, way) for way in ways}, rounds)
        ours, theirs = learn("lesionlens"), learn("torch")
        apart.append(float((ours - theirs).abs().max() / theirs.abs().max()))
    times = ", ".join(f"{part} x {spread(ratios(seconds, *ways))}" for part, seconds in found.items())
    print(f"{name} {list(shape)}, {kernels} of {side} x {side}, stride {by}: {times}; "
          f"apart by {max(apart):.1e} of the largest", flush=True)  # fmt: skip


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0] if __doc__ else None)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    keep_freed_memory()
    torch.manual_seed(0)
    for name, shape in SHAPES.items():
        measure(name, *shape, options.rounds)
    for name, (samples, channels, height, width, kernels, side, by) in OTHERS.items():
        measure_other(name, (samples, channels, height, width), kernels, side, by, options.rounds)


if __name__ == "__main__":
    main()
