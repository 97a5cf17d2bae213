"""Anyone's network: what it must give, where its map is found, its random counterpart."""

from collections import OrderedDict

import pytest
import torch
from torch import Tensor, nn
from torchvision import models

from lesionlens.config.examination import IMAGENET, InputSpec
from lesionlens.models.own import OwnNetwork, find_block, own_network

IMAGES = torch.rand(3, 3, 64, 64, generator=torch.Generator().manual_seed(0))
SPEC = InputSpec(size=64, normalise="none")
CLASSES = ("a", "b", "c")


def small(classes: int = 3, channels: int = 3, end: nn.Module | None = None) -> nn.Module:
    parts = OrderedDict(
        first=nn.Conv2d(channels, 4, 3, stride=2), act=nn.ReLU(inplace=True), second=nn.Conv2d(4, 8, 3, stride=2),
        pool=nn.AdaptiveAvgPool2d(1), flat=nn.Flatten(), head=nn.Linear(8, classes), end=end or nn.Identity(),
    )  # fmt: skip
    return nn.Sequential(parts)


def made(network: nn.Module, spec: InputSpec = SPEC, block: str | None = None) -> OwnNetwork:
    return own_network(network, CLASSES, ("c", "a", "b"), spec, IMAGES, block)


def test_outputs_come_in_the_order_of_the_labels_normalised_as_asked() -> None:
    network = small().eval()
    means, deviations = (torch.tensor(values)[:, None, None] for values in IMAGENET)
    found = made(network, InputSpec(size=64)).logits(IMAGES)
    torch.testing.assert_close(found, network((IMAGES - means) / deviations)[:, [2, 0, 1]])
    grey = small(channels=1).eval()
    spec = InputSpec(size=64, channels=1, normalise=((0.5,), (0.25,)))
    torch.testing.assert_close(made(grey, spec).logits(IMAGES), grey((IMAGES[:, :1] - 0.5) / 0.25)[:, [2, 0, 1]])


def test_the_network_given_is_not_touched() -> None:
    network = small().train()
    before = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    own = made(network)
    own.randomised(1)
    assert network.training and network.act.inplace and all(p.grad is None for p in network.parameters())
    assert all(torch.equal(before[name], tensor) for name, tensor in network.state_dict().items())
    assert not own.network.training and not own.network.act.inplace


@pytest.mark.parametrize(
    ("name", "block"),
    [
        ("resnet18", "layer4"),
        ("vgg11", "features"),
        ("mobilenet_v3_small", "features"),
        ("squeezenet1_1", "classifier.1"),
    ],
)
def test_the_last_map_before_global_pooling_is_found(name: str, block: str) -> None:
    network = getattr(models, name)(weights=None, num_classes=3)
    assert made(network).block == block


def test_a_transformer_and_an_mlp_have_no_map() -> None:
    mlp = nn.Sequential(nn.Flatten(), nn.Linear(3 * 64 * 64, 3))
    vit = models.VisionTransformer(64, 16, 1, 2, 16, 16, num_classes=3)
    nn.init.normal_(vit.heads.head.weight)
    assert made(mlp).block is None and made(vit).block is None
    assert made(vit).map_block("block") is not None


@pytest.mark.parametrize(
    ("named", "words"),
    [
        ("secnd", "did you mean second"),
        ("flat", "gives \\[3, 8\\]"),
        ("pool", "\\[3, 8, 1, 1\\]"),
        ("x", "no module 'x'"),
    ],
)
def test_a_block_named_wrongly_is_refused(named: str, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        made(small(), block=named)


def test_a_block_can_be_named() -> None:
    assert made(small(), block="first").block == "first"
    assert find_block(made(small()), IMAGES) == "second"


class Aware(nn.Module):
    """Scores that depend on the rest of the batch."""

    def forward(self, x: Tensor) -> Tensor:
        return x - x.mean(dim=0, keepdim=True) * (len(x) > 1)


class Nan(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x * float("nan")


@pytest.mark.parametrize(
    ("network", "words"),
    [
        (small(classes=2), r"gives \[3, 2\] for 3 images, and classes names 3"),
        (small(classes=1), r"torch.cat\(\[-x, x\]"),
        (small(channels=1), r"does not take images \[n, 3, 64, 64\]"),
        (small(end=Nan()), "not finite"),
        (small(end=nn.Softmax(dim=1)), "gives probabilities"),
        (small(end=Aware()), "alone than in a batch"),
        (object(), "is a object"),
    ],
)
def test_what_is_no_classifier_of_these_images_is_refused_in_one_line(network: nn.Module, words: str) -> None:
    with pytest.raises(ValueError, match=words) as refused:
        made(network)
    assert "\n" not in str(refused.value)


def test_random_counterparts_differ_in_every_weight_and_draw() -> None:
    class Free(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.inner, self.scale = small(), nn.Parameter(torch.linspace(1, 2, 3))

        def forward(self, x: Tensor) -> Tensor:
            return self.inner(x) * self.scale

    own, state = made(Free()), torch.get_rng_state()
    one, again, two = own.randomised(1), own.randomised(1), own.randomised(2)
    assert torch.equal(state, torch.get_rng_state())
    weights = [dict(model.named_parameters()) for model in (own, one, again, two)]
    for name in weights[0]:
        assert torch.equal(weights[1][name], weights[2][name])
        assert not torch.equal(weights[0][name], weights[1][name]) and not torch.equal(
            weights[1][name], weights[3][name]
        )
    assert [step[-1] for step in own.steps()] == ["network.inner.head", "network.inner.second", "network.inner.first"]


@pytest.mark.parametrize("normalise", [((0.5, 0.5), (1.0, 1.0, 1.0)), ((0.5,), (0.0,))])
def test_a_normalisation_that_does_not_fit_the_channels_is_refused(normalise: object) -> None:
    with pytest.raises(ValueError, match="channels"):
        InputSpec(normalise=normalise)  # type: ignore[arg-type]
