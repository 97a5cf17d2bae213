"""3 x 3 convolutions: Winograd's way beside oneDNN's, forward and with both gradients, and where it is taken for the
gradient of the weight alone, that.

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
from lesionlens.models.arithmetic import Convolutions
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
LEARNT = ("ResNet50 at 224, layer 1", "ResNet50 on films, layer 1")
"""Where it is taken for the gradient of the weight alone."""
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
    with Convolutions(planar=False):
        taken = "Winograd" in type(WAYS["oneDNN"](*leaves).grad_fn).__name__
    first, both = (spread(ratios(seconds, "Winograd", "oneDNN")) for seconds in (forward, whole))
    way = "Winograd" if taken else "oneDNN"
    print(f"{name:27s} {samples} x {channels} x {height} x {width}: forward x {first}, with gradients x {both}; "
          f"apart by {apart:.1e} of the largest; {way} is taken", flush=True)  # fmt: skip


def measure_learning(name: str, samples: int, channels: int, height: int, width: int, rounds: int) -> None:
    """Print how many times as long oneDNN's gradient of a weight takes, and how far both lie apart."""
    images = torch.randn(samples, channels, height, width).contiguous(memory_format=torch.channels_last)
    weight = torch.randn(channels, channels, 3, 3).contiguous(memory_format=torch.channels_last).requires_grad_()
    how = (None, [1, 1], [1, 1], [1, 1], 1)
    with Convolutions(planar=False):
        found = {"lesionlens": torch.conv2d(images, weight, *how)}
    found["oneDNN"] = torch.conv2d(images, weight, *how)
    gradient = torch.randn_like(found["oneDNN"])

    def learn(way: str) -> Tensor:
        return torch.autograd.grad(found[way], weight, gradient, retain_graph=True)[0]

    seconds = interleaved({way: partial(learn, way) for way in found}, rounds)
    ours, theirs = learn("lesionlens"), learn("oneDNN")
    apart, taken = float((ours - theirs).abs().max() / theirs.abs().max()), type(found["lesionlens"].grad_fn).__name__
    ratio = spread(ratios(seconds, "lesionlens", "oneDNN"))
    print(f"{name:27s} {samples} x {channels} x {height} x {width}: gradient of the weight x {ratio}; "
          f"apart by {apart:.1e} of the largest; {taken}", flush=True)  # fmt: skip


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
    for name in LEARNT:
        measure_learning(name, *SHAPES[name], options.rounds)


if __name__ == "__main__":
    main()
