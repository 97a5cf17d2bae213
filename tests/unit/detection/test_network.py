"""Detectors on the project's backbones."""

import numpy as np
import pytest
import torch
from torch import nn

from lesionlens.detection.network import MOST, SCORE, Detector
from lesionlens.models.arithmetic import arithmetic
from lesionlens.models.backbones import build


def detector(backbone: str = "resnet18", network: str = "fcos", **other: object) -> Detector:
    return Detector(build(backbone, 2, 0), network, 2, 32, 0, **other)


@pytest.mark.parametrize(
    ("backbone", "strides"),
    [("resnet18", [8, 16, 32, 64]), ("vgg11_bn", [8, 16, 32]), ("efficientnet_b0", [16, 32, 64])],
)
def test_the_pyramid_has_the_strides_of_its_blocks(backbone: str, strides: list[int]) -> None:
    pyramid = detector(backbone).network.backbone
    with torch.no_grad():
        levels = pyramid(torch.zeros(1, 3, 128, 64))
    assert [(128 // x.shape[2], 64 // x.shape[3], x.shape[1]) for x in levels.values()] == [(s, s, 32) for s in strides]
    assert pyramid.strides == strides


@pytest.mark.parametrize("network", ["fcos", "retinanet"])
def test_losses_reach_every_layer_and_films_without_lesions_count(network: str) -> None:
    model = detector(network=network).train()
    torch.manual_seed(0)
    films = torch.randn(2, 3, 96, 64)
    boxes = [torch.tensor([[10.0, 20.0, 40.0, 50.0]]), torch.zeros(0, 4)]
    loss = model.losses(films, boxes, [torch.tensor([1]), torch.zeros(0, dtype=torch.int64)])
    loss.backward()
    assert torch.isfinite(loss)
    still = [name for name, p in model.named_parameters() if p.grad is None or not p.grad.abs().sum()]
    # torchvision's class 0 is the background, which no box has: its weights move, too, by what is no lesion
    assert not [name for name in still if "num_batches" not in name]
    alone = model.losses(films[1:], boxes[1:], [torch.zeros(0, dtype=torch.int64)])
    assert torch.isfinite(alone) and alone > 0


@pytest.mark.parametrize("network", ["fcos", "retinanet"])
def test_marks_lie_on_the_film_as_it_is(network: str) -> None:
    """No film is resized, whatever its size: boxes stay within it."""
    model = detector(network=network)
    with torch.no_grad():
        for name, weight in model.network.head.named_parameters():
            if name.endswith("cls_logits.bias"):
                weight.fill_(0.0)  # so that an untrained network is sure enough to mark
    found = model.marks(torch.randn(3, 3, 100, 64, generator=torch.Generator().manual_seed(1)))
    assert set(found.film) == {0, 1, 2} and len(found.film) <= 3 * MOST
    assert found.scores.min() > SCORE and set(found.labels) <= {-1, 0, 1}
    assert (found.boxes >= 0).all() and (found.boxes[:, [0, 2]] <= 64).all() and (found.boxes[:, [1, 3]] <= 100).all()


def test_the_network_sees_films_in_their_size_when_it_learns_and_when_it_marks() -> None:
    model, seen = detector(), []
    model.network.backbone.register_forward_pre_hook(lambda _, given: seen.append(given[0]))
    films = torch.randn(1, 3, 96, 64)
    model.marks(films)
    model.train().losses(films, [torch.zeros(0, 4)], [torch.zeros(0, dtype=torch.int64)])
    assert all(torch.equal(each, films) for each in seen) and len(seen) == 2


def test_statistics_of_trained_blocks_stay_and_of_new_ones_are_measured() -> None:
    for measured in (False, True):
        model = detector(measured=measured).train()
        layers = [m for m in model.body.modules() if isinstance(m, nn.BatchNorm2d)]
        assert layers and all(layer.training == measured for layer in layers)
        before = layers[0].running_mean.clone()
        model.losses(torch.randn(2, 3, 64, 64), [torch.zeros(0, 4)] * 2, [torch.zeros(0, dtype=torch.int64)] * 2)
        assert torch.equal(before, layers[0].running_mean) != measured
        assert not any(layer.training for layer in model.eval().body.modules())


def test_the_seed_decides_and_the_global_generator_is_left_alone() -> None:
    torch.manual_seed(5)
    first = detector()
    drawn = torch.rand(1)
    torch.manual_seed(5)
    assert torch.equal(drawn, torch.rand(1))
    assert all(
        torch.equal(a, b) for a, b in zip(first.state_dict().values(), detector().state_dict().values(), strict=True)
    )
    with pytest.raises(ValueError, match="multiple of 32"):
        Detector(build("resnet18", 2, 0), "fcos", 2, 48, 0)


def test_a_detector_of_one_class_says_of_no_mark_that_it_is_benign() -> None:
    model = Detector(build("resnet18", 2, 0), "fcos", 1, 32, 0)
    with torch.no_grad():
        model.network.head.classification_head.cls_logits.bias.fill_(0.0)
    found = model.marks(torch.randn(2, 3, 96, 64, generator=torch.Generator().manual_seed(1)))
    assert len(found.labels) and set(found.labels) == {-1}


@pytest.mark.parametrize("network", ["fcos", "retinanet"])
def test_bfloat16_moves_losses_and_marks_by_its_rounding_alone(network: str) -> None:
    """Losses to 1 %, scores to 0.02, boxes to 1 pixel on a film of 384, where bfloat16 counts in steps of 2."""
    model = detector(network=network)
    films = torch.randn(2, 3, 384, 64, generator=torch.Generator().manual_seed(1))
    boxes, labels = [torch.tensor([[10.0, 301.0, 40.0, 341.0]])] * 2, [torch.ones(1, dtype=torch.int64)] * 2
    with torch.no_grad():
        for name, weight in model.network.head.named_parameters():
            if name.endswith("cls_logits.bias"):
                weight.fill_(0.0)
    cpu, every, first = torch.device("cpu"), {}, {}
    for wanted in ("float32", "bfloat16"):
        with arithmetic(cpu, wanted):  # type: ignore[arg-type]
            first[wanted] = model.eval().marks(films)
            every[wanted] = model.train().losses(films, boxes, labels).detach()
    assert every["bfloat16"].dtype == torch.float32
    assert every["bfloat16"].item() == pytest.approx(every["float32"].item(), rel=0.01)
    exact, rounded = first["float32"], first["bfloat16"]
    assert not np.array_equal(exact.scores, rounded.scores)
    for film in (0, 1):
        own, other = exact.where(exact.film == film), rounded.where(rounded.film == film)
        nearest = np.abs(own.boxes[:, None] - other.boxes).max(axis=2).min(axis=1)
        # of marks of nearly one score another may be among the surest 20
        assert (nearest < 1).mean() >= 0.7
        assert np.sort(own.scores) == pytest.approx(np.sort(other.scores), abs=0.02)
