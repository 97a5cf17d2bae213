"""Maps and scores: lesionlens beside the loop people write, which calls `grad-cam` or `captum` image by image.

    python -m benchmarks.evaluate            ResNet50 and VGG19 at 224, ResNet18 at 96; one thread, a quarter of an hour
    python -m benchmarks.evaluate --small    a try in minutes: ResNet18 at 96

The peer is the package as its README uses it: one object, one call per image, all parameters asking for gradients,
scaled map out; then, per sample, 19 thresholds with numpy and scikit-image's Otsu. A second peer has the frozen
half's gradients off, as whoever trained the network by the study's recipe would have it. Both sides start from the
same normalised pixels and end in maps of the patch's size. For methods of pixels the peer is captum as its tutorials
call it: predict one image, then attribute it, with the same steps, draws and seed; both end in predictions and cells.
A second peer takes the 200 steps of integrated gradients and the 50 draws of GradientSHAP that captum's tutorial on
torchvision's networks takes; what they buy is said by cells of many more.
Weights are random: the arithmetic is the same. lesionlens keeps freed memory, as the pipeline's tasks do; the peer
has the C library's defaults.
"""

import argparse
from collections.abc import Collection
from dataclasses import dataclass
from functools import partial

import numpy as np
import torch
from captum.attr import GradientShap, IntegratedGradients, Saliency
from numpy.typing import NDArray
from pytorch_grad_cam import GradCAM
from skimage.filters import threshold_otsu
from torch import Tensor, nn
from torch.nn.functional import adaptive_avg_pool2d

from benchmarks.allocation import of_a_script
from benchmarks.interleaved import Seconds, interleaved, ratios, spread
from lesionlens.attribution import closed_form, pixels
from lesionlens.attribution.explain import predict_with_saliency
from lesionlens.attribution.pixels import CELLS, POINTS, SHAP, STEPS, seeded
from lesionlens.attribution.pixels import spread as spread_of
from lesionlens.attribution.registry import METHODS
from lesionlens.attribution.scaling import activation_maps
from lesionlens.config.evaluation import Method
from lesionlens.config.training import Backbone
from lesionlens.localization import curves
from lesionlens.localization.metrics import CHUNK, histogram_scores
from lesionlens.models.arithmetic import channels_last, float32
from lesionlens.models.backbones import build
from lesionlens.models.classifier import Classifier, Level
from lesionlens.processes import keep_freed_memory

BATCH = 32
GOALS: dict[Backbone, float] = {"resnet50": 4.0, "vgg19": 3.0}
CACHE_GOAL, SWEEP_GOAL, PIXEL_GOAL = 8.0, 10.0, 2.0
PASSES: dict[Method, tuple[int, ...]] = {
    "saliency": (1,),
    "integrated_gradients": (STEPS, 200),
    "gradient_shap": (POINTS, 50),
}
"""Of methods of pixels the passes for an image: ours, and those of captum's tutorial where it takes more."""
DRAWN, MANY = 50, 800
"""Draws that go through a network at once, and passes whose cells stand for those of endlessly many."""


@dataclass(frozen=True, slots=True, eq=False)
class Work:
    """One network, its copy for the closed form, and the samples: pixels [n, 3, s, s], stem [n, c, h, w]."""

    model: Classifier
    fast: Classifier
    pixels: Tensor
    stem: Tensor

    @property
    def size(self) -> int:
        return int(self.pixels.shape[-1])


def work_of(backbone: Backbone, count: int, size: int) -> Work:
    """A network with random weights in evaluation mode, and samples of smooth noise."""
    model = build(backbone, 5, seed=0).eval()
    coarse = torch.rand(count, 1, size // 8, size // 8, generator=torch.Generator().manual_seed(0))
    pixels = nn.functional.interpolate(coarse, size=(size, size), mode="bilinear").expand(-1, 3, -1, -1).contiguous()
    with torch.no_grad():
        stem = torch.cat([model.stem(part) for part in torch.split(pixels, BATCH)]).contiguous(
            memory_format=torch.channels_last
        )
    return Work(model, closed_form.fast(model, "block"), pixels, stem)


@of_a_script()
def package_maps(work: Work) -> NDArray[np.float32]:
    """float32 [n, s, s], image by image."""
    with GradCAM(model=work.model, target_layers=[work.model.map_block("block")]) as cam:
        return np.concatenate([cam(input_tensor=image[None], targets=None) for image in work.pixels])


def our_maps(work: Work, cached: bool) -> NDArray[np.float32]:
    """The same maps, in batches, from pixels or from the frozen half's stored output."""
    level: Level = "stem" if cached else "pixels"
    source = work.stem if cached else work.pixels
    source = source.contiguous(memory_format=torch.channels_last)
    parts = []
    with float32():
        for batch in torch.split(source, BATCH):
            outputs = closed_form.forward(work.fast, "block", batch, level)
            grids = closed_form.grad_cam(work.model, "block", outputs, outputs.logits.argmax(dim=1))
            parts.append(activation_maps(grids.numpy(), (work.size, work.size), "relu_max")[0])
    return np.concatenate(parts)


def map_difference(work: Work) -> float:
    """Largest difference between unscaled maps of both sides, over a map's largest magnitude."""
    images = work.pixels[:4]
    outputs = closed_form.forward(work.fast, "block", images)
    classes = outputs.logits.argmax(dim=1)
    ours = closed_form.grad_cam(work.model, "block", outputs, classes, "logit").numpy()
    theirs = METHODS["grad_cam"].maps(work.model, images, classes.numpy(), work.model.map_block("block"), "logit")
    scale = np.abs(theirs).max(axis=(1, 2), keepdims=True)
    return float((np.abs(ours - theirs) / scale).max())


def measure_maps(backbone: Backbone, count: int, size: int, rounds: int) -> None:
    """Print samples per second and ratios of one backbone."""
    work = work_of(backbone, count, size)

    def readme() -> None:
        work.model.requires_grad_(True)
        package_maps(work)

    def recipe() -> None:
        work.model.stem.requires_grad_(False)
        package_maps(work)
        work.model.requires_grad_(True)

    sides = {
        "from pixels": lambda: our_maps(work, cached=False),
        "from the cache": lambda: our_maps(work, cached=True),
        "package, as its README": readme,
        "package, frozen half without gradients": recipe,
    }
    seconds = interleaved(sides, rounds)
    print(f"\n{backbone}: maps, {count} samples of {size} x {size}, {rounds} rounds, samples per CPU second")
    for name, taken in seconds.items():
        print(f"  {name:40s} {spread([count / each for each in taken])}")
    for ours, goal in (("from pixels", GOALS.get(backbone)), ("from the cache", CACHE_GOAL)):
        for peer in ("package, as its README", "package, frozen half without gradients"):
            wanted = f", goal {goal:g}" if goal and "README" in peer else ""
            print(f"  {ours} against {peer}: x {spread(ratios(seconds, ours, peer))}{wanted}")
    print(f"  unscaled maps agree within {map_difference(work):.1e} of a map's largest value")


def tutorial(work: Work, method: Method, passes: int) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
    """Predicted classes [n] and cells [n, 28, 28], image by image."""
    parts, predicted = [], []
    for image in torch.split(work.pixels, 1):
        label = int(torch.softmax(work.model(image), dim=1).argmax())
        predicted.append(label)
        given = image.clone().requires_grad_()
        if method == "saliency":
            found = Saliency(work.model).attribute(given, target=label, abs=False)
        elif method == "integrated_gradients":
            size = min(passes, STEPS)  # 200 steps at once of ResNet50 at 224 are 30 GB
            found = IntegratedGradients(work.model).attribute(
                given, target=label, n_steps=passes, internal_batch_size=size
            )
        else:
            with seeded(image[:, :1]):
                shap, noise = GradientShap(work.model), spread_of(image) * SHAP
                drawn = [
                    shap.attribute(given, 0 * image, n_samples=min(passes, DRAWN), stdevs=noise, target=label).detach()
                    for _ in range(max(1, passes // DRAWN))
                ]
                found = torch.stack(drawn).mean(dim=0)
        grey = found.detach().sum(dim=1)
        parts.append(adaptive_avg_pool2d(grey.abs() if method == "saliency" else grey, CELLS))
    return np.array(predicted), torch.cat(parts).numpy()


def our_attributions(work: Work, method: Method) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
    """The same from batches by the quick copy; the pass that predicts gives saliency, too, as where no features are
    stored."""
    predicted, parts = [], []
    with float32():
        for batch in torch.split(work.pixels, BATCH):
            if method == "saliency":
                outputs, cells = predict_with_saliency(work.fast, "block", batch, "logit")
                predicted.append(outputs.logits.argmax(dim=1).numpy())
                parts.append(cells)
                continue
            with torch.no_grad():
                logits = work.fast(channels_last(batch))
            predicted.append(logits.argmax(dim=1).numpy())
            parts.append(METHODS[method].maps(work.fast, batch, predicted[-1], work.fast.unit1, "logit"))
    return np.concatenate(predicted), np.concatenate(parts)


def _of_many_points(work: Work) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
    """What our GradientSHAP tends to: its noise is of one channel, the tutorial's of three."""
    before, pixels.POINTS = pixels.POINTS, MANY
    try:
        return our_attributions(work, "gradient_shap")
    finally:
        pixels.POINTS = before


def measure_attributions(backbone: Backbone, count: int, size: int, rounds: int, methods: Collection[Method]) -> None:
    """Print the CPU time of methods of pixels, how far both sides' cells agree where they draw nothing, and how far
    cells of few passes agree with cells of many."""
    work = work_of(backbone, count, size)
    print(f"\n{backbone}: methods of pixels, {count} samples of {size} x {size}, CPU seconds")
    for method in methods:
        passes = PASSES[method]
        peers = {f"captum, passes {each}": partial(of_a_script()(tutorial), work, method, each) for each in passes}
        seconds = interleaved({"ours": partial(our_attributions, work, method), **peers}, rounds)
        print(f"  {method}: ours {spread(seconds['ours'])}")
        for name in peers:
            print(f"    {name} {spread(seconds[name])}: x {spread(ratios(seconds, 'ours', name))}, goal {PIXEL_GOAL:g}")
        if method != "gradient_shap":  # noise of one channel against noise of three
            print(f"      {_agreement(our_attributions(work, method), tutorial(work, method, passes[0]))}")
        if len(passes) > 1:
            many = tutorial(work, method, MANY)
            fine = _of_many_points(work) if method == "gradient_shap" else many
            print(f"      ours and {MANY}: {_agreement(our_attributions(work, method), fine)}")
            for each in passes:
                print(f"      passes {each} and {MANY}: {_agreement(tutorial(work, method, each), many)}")


def _agreement(
    ours: tuple[NDArray[np.int64], NDArray[np.float32]], theirs: tuple[NDArray[np.int64], NDArray[np.float32]]
) -> str:
    """How far predictions and cells of both sides are the same."""
    scale = np.abs(theirs[1]).max(axis=(1, 2), keepdims=True)
    same = "same classes" if (ours[0] == theirs[0]).all() else "OTHER CLASSES"
    apart = float((np.abs(ours[1] - theirs[1]) / scale).max())
    least = min(np.corrcoef(a.ravel(), b.ravel())[0, 1] for a, b in zip(ours[1], theirs[1], strict=True))
    return f"{same}; cells agree within {apart:.1e} of the largest, correlation at least {least:.5f}"


def loop_sweep(maps: NDArray[np.float32], masks: NDArray[np.bool_]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """IoU [n, 19] and IoU at Otsu's threshold [n], sample by sample and threshold by threshold."""
    curve, cut = np.zeros((len(maps), 19)), np.zeros(len(maps))
    for row, (values, mask) in enumerate(zip(maps, masks, strict=True)):
        for column, level in enumerate(k / 20 for k in range(1, 20)):
            region = values >= level
            curve[row, column] = (region & mask).sum() / (region | mask).sum()
        region = values >= threshold_otsu(values)  # type: ignore[no-untyped-call]
        cut[row] = (region & mask).sum() / (region | mask).sum()
    return curve, cut


def our_sweep(maps: NDArray[np.float32], masks: NDArray[np.bool_]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """The same numbers from one histogram per sample."""
    parts = []
    for start in range(0, len(maps), CHUNK):
        parts.append(histogram_scores(curves.counts(maps[start : start + CHUNK], masks[start : start + CHUNK])))
    return np.concatenate([part.curve for part in parts]), np.concatenate([part.otsu_iou for part in parts])


def measure_sweep(count: int, size: int, rounds: int) -> None:
    """Print the time of 19 thresholds and Otsu's."""
    generator = np.random.default_rng(0)
    grids = generator.normal(size=(count, 7, 7)).astype(np.float32)
    maps, _blank = activation_maps(grids, (size, size), "relu_max")
    rows, columns = np.mgrid[:size, :size]
    centres = generator.uniform(0.3, 0.7, size=(count, 2, 1, 1)) * size
    masks = (rows - centres[:, 0]) ** 2 + (columns - centres[:, 1]) ** 2 < (size / 6) ** 2
    seconds: Seconds = interleaved(
        {"histograms": lambda: our_sweep(maps, masks), "loop": lambda: loop_sweep(maps, masks)}, rounds
    )
    ours, theirs = our_sweep(maps, masks), loop_sweep(maps, masks)
    print(f"\nIoU at 19 thresholds and Otsu's, {count} samples of {size} x {size}, {rounds} rounds, CPU seconds")
    for name, taken in seconds.items():
        print(f"  {name:40s} {spread(taken)}")
    print(f"  ratio: x {spread(ratios(seconds, 'histograms', 'loop'))}, goal {SWEEP_GOAL:g}")
    for name, a, b in zip(("the sweep", "Otsu's"), ours, theirs, strict=True):
        print(f"  {name}: IoU differs by {np.abs(a - b).max():.1e} at most")


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0] if __doc__ else None)
    parser.add_argument("--small", action="store_true", help="ResNet18 at 96, few samples")
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    torch.set_num_threads(1)
    keep_freed_memory()
    if options.small:
        measure_maps("resnet18", 8, 96, options.rounds)
        measure_attributions("resnet18", 8, 96, options.rounds, PASSES)
        measure_sweep(64, 96, options.rounds)
        return
    for backbone in GOALS:
        measure_maps(backbone, 32, 224, options.rounds)
        measure_attributions(backbone, BATCH, 224, options.rounds, ["saliency"])
    measure_attributions("resnet18", 8, 96, options.rounds, PASSES)
    measure_sweep(860, 224, options.rounds)


if __name__ == "__main__":
    main()
