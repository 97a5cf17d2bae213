"""Detectors: torchvision's FCOS and RetinaNet with a feature pyramid on a classifier's blocks."""

from collections import OrderedDict
from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor, nn
from torchvision.models.detection import FCOS, RetinaNet
from torchvision.models.detection.anchor_utils import AnchorGenerator
from torchvision.models.detection.transform import GeneralizedRCNNTransform
from torchvision.ops.feature_pyramid_network import FeaturePyramidNetwork, LastLevelMaxPool

from lesionlens.config.training import DetectorNetwork, RunConfig, TrainingConfig
from lesionlens.detection.marks import NO_LABEL, OVERLAP, Marks
from lesionlens.models.backbones import build
from lesionlens.models.classifier import Classifier

SCORE = 0.01
"""Boxes that are less sure are not marked. Far below torchvision's 0.2 and 0.05: a FROC curve needs its low scores."""
MOST = 20
"""Marks of a film at most."""
SCALES = (2.0, 3.0, 4.5)
"""Sides of RetinaNet's square anchors in strides of their level: 16 to 288 pixels on strides of 8 to 64."""
PROBE = 128


class Pyramid(nn.Module):
    """A classifier's stem, unit2 and unit1, and a pyramid on those of them that halve the side, with one level more.

    measured: whether batch normalisations measure statistics anew in training, which blocks with random weights need;
    those of trained blocks stay as they are, since batches of a few films are too small to measure them.
    """

    def __init__(self, classifier: Classifier, channels: int, measured: bool) -> None:
        super().__init__()
        self.measured = measured
        self.body = nn.ModuleDict({"stem": classifier.stem, "unit2": classifier.unit2, "unit1": classifier.unit1})
        sides, widths = self._measured()
        # Of blocks at one stride (VGG's unit2 and unit1) the pyramid takes the last.
        self.taken = [name for i, name in enumerate(self.body) if i + 1 == len(sides) or sides[i] != sides[i + 1]]
        self.strides = [PROBE // sides[list(self.body).index(name)] for name in self.taken]
        self.strides.append(self.strides[-1] * 2)
        inner = [widths[list(self.body).index(name)] for name in self.taken]
        self.fpn = FeaturePyramidNetwork(inner, channels, LastLevelMaxPool())
        self.out_channels = channels

    @torch.no_grad()
    def _measured(self) -> tuple[list[int], list[int]]:
        """Sides of what the blocks give for a square of 128 pixels, and their widths."""
        x, found = torch.zeros(1, 3, PROBE, PROBE), []
        for block in self.body.values():
            x = block.eval()(x)
            found.append((x.shape[2], x.shape[1]))
        return [side for side, _ in found], [width for _, width in found]

    def train(self, mode: bool = True) -> "Pyramid":
        super().train(mode)
        for module in self.body.modules():
            if isinstance(module, nn.BatchNorm2d):
                module.train(mode and self.measured)
        return self

    def forward(self, x: Tensor) -> "OrderedDict[str, Tensor]":
        """The levels float32 [n, channels, h / stride, w / stride], finest first, of pixels float32 [n, 3, h, w]."""
        levels: OrderedDict[str, Tensor] = OrderedDict()
        for name, block in self.body.items():
            x = block(x)
            if name in self.taken:
                levels[name] = x
        # Anchors take the type of the levels, and bfloat16 has no pixel 257.
        return OrderedDict((name, level.float()) for name, level in self.fpn(levels).items())


class _AsTheyAre(GeneralizedRCNNTransform):  # type: ignore[misc]
    """Films come normalised and in their size; torchvision would resize them when it marks."""

    def __init__(self) -> None:
        super().__init__(1, 1, [0.0] * 3, [1.0] * 3)

    def resize(self, image: Tensor, target: dict[str, Tensor] | None = None) -> tuple[Tensor, dict[str, Tensor] | None]:
        return image, target


def _in_float32(_: nn.Module, __: object, found: dict[str, Tensor]) -> dict[str, Tensor]:
    """What the heads say, for losses and boxes: under autocast convolutions alone are of lower precision."""
    return {name: each.float() for name, each in found.items()}


class Detector(nn.Module):
    """Finds lesions of `classes` kinds on films that are normalised as a classifier's samples are.

    `classifier` gives its blocks, trained or not, and is used up. channels: width of pyramid and heads, a multiple of
    32; measured: as `Pyramid`. New layers are drawn from `seed`; the global random state is left as it was. No film is
    resized.
    """

    def __init__(
        self,
        classifier: Classifier,
        architecture: DetectorNetwork,
        classes: int,
        channels: int,
        seed: int,
        measured: bool = False,
    ) -> None:
        super().__init__()
        if channels % 32:
            raise ValueError(f"a detector's channels must be a multiple of 32 for its group norm, not {channels}")
        self.classes = classes
        settings = {"score_thresh": SCORE, "nms_thresh": OVERLAP, "detections_per_img": MOST}
        make, scales = {"fcos": (FCOS, (1.0,)), "retinanet": (RetinaNet, SCALES)}[architecture]
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            pyramid = Pyramid(classifier, channels, measured)
            sizes = tuple(tuple(scale * stride for scale in scales) for stride in pyramid.strides)
            anchors = AnchorGenerator(sizes, ((1.0,),) * len(sizes))
            # torchvision counts the background as class 0
            self.network = make(pyramid, classes + 1, anchor_generator=anchors, **settings)
        self.network.transform = _AsTheyAre()
        self.network.head.register_forward_hook(_in_float32)
        self.eval()

    @property
    def body(self) -> nn.ModuleDict:
        """The classifier's blocks by name."""
        blocks: nn.ModuleDict = self.network.backbone.body
        return blocks

    def losses(self, pixels: Tensor, boxes: Sequence[Tensor], labels: Sequence[Tensor]) -> Tensor:
        """The sum of the network's losses over a batch, in training mode.

        pixels float32 [n, 3, h, w]; boxes float32 [k, 4] and labels int64 [k] (ordinals) of every film; k may be 0.
        """
        targets = [{"boxes": box, "labels": label + 1} for box, label in zip(boxes, labels, strict=True)]
        found: dict[str, Tensor] = self.network(list(pixels), targets)
        return torch.stack(list(found.values())).sum()

    @torch.no_grad()
    def marks(self, pixels: Tensor) -> Marks:
        """Marks on films float32 [n, 3, h, w], in evaluation mode: at most 20 a film, scores above 0.01.

        Without a label where there is one class.
        """
        found = [{name: each.cpu().numpy() for name, each in film.items()} for film in self.network(list(pixels))]
        labels = np.concatenate([film["labels"] for film in found]).astype(np.int64) - 1
        return Marks(
            np.repeat(np.arange(len(found), dtype=np.int64), [len(film["scores"]) for film in found]),
            np.concatenate([film["boxes"] for film in found]).astype(np.float64),
            np.concatenate([film["scores"] for film in found]).astype(np.float64),
            labels if self.classes > 1 else np.full_like(labels, NO_LABEL),
        )


def build_detector(run: RunConfig, training: TrainingConfig, classes: int) -> Detector:
    """The run's detector with random weights, for films of so many classes."""
    return on_blocks(build(run.backbone, classes, run.seed), run, training, classes)


def on_blocks(classifier: Classifier, run: RunConfig, training: TrainingConfig, classes: int) -> Detector:
    """The run's detector on the blocks of a classifier, which is used up."""
    options, kinds = training.detector, 1 if training.detector.one_class else classes
    return Detector(classifier, options.network, kinds, options.channels, run.seed, _fresh(training))


def freeze(model: Detector, training: TrainingConfig) -> bool:
    """Freeze the stem where the run's blocks come with weights; returns whether they do."""
    if _fresh(training):
        return False
    model.body["stem"].requires_grad_(False)
    return True


def _fresh(training: TrainingConfig) -> bool:
    """Whether a run's blocks begin with random weights."""
    return training.weights == "none" and training.start is None
