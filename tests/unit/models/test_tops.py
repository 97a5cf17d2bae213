"""Tops of films' networks: shapes, maps of unit1 through them, and the two steps in which they are trained."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from lesionlens.attribution.closed_form import fast
from lesionlens.attribution.explain import Source, explain
from lesionlens.config.evaluation import EvaluationConfig
from lesionlens.config.training import RunConfig, StoppingConfig, Top, TrainingConfig
from lesionlens.models.backbones import build
from lesionlens.models.weights import initial_model
from lesionlens.training.augment import as_mammogram
from lesionlens.training.checkpoints import load_model
from lesionlens.training.epochs import mean_auc
from lesionlens.training.fit import class_weights, first_model, fit
from lesionlens.training.inputs import Inputs
from lesionlens.training.strategies import ALL, TOP, parameter_groups, set_modes
from tests.unit.arrays import bright_squares
from tests.unit.thin import thin_networks

SET = {"batch_size": 8, "head_rate": 1e-3, "unit1_rate": 1e-4}


@pytest.fixture
def thin_trunk() -> Iterator[None]:
    with thin_networks():
        yield


def run(backbone: str = "resnet18", strategy: str = "two_step") -> RunConfig:
    return RunConfig.model_validate({"backbone": backbone, "strategy": strategy} | SET)


def training(top: Top, **parts: object) -> TrainingConfig:
    values = {"weights": "none", "top": top, "stopping": StoppingConfig(patience=2, max_epochs=2)}
    return TrainingConfig.model_validate(values | parts)


@pytest.mark.parametrize(
    ("top", "width", "millions"), [("residual", 1024, 15.0), ("vgg", 512, 4.7), ("mbconv", 512, 2.7)]
)
def test_a_top_halves_the_map_twice_and_has_the_published_size(top: Top, width: int, millions: float) -> None:
    model = build("resnet18", 2, 0, top=top)
    features = model.to_level("unit1", torch.zeros(1, 3, 288, 224))
    assert features.shape == (1, 512, 9, 7)
    assert model.top(features).shape == (1, width, 3 if top != "vgg" else 2, 2 if top != "vgg" else 1)
    assert model.head.in_features == width
    assert sum(p.numel() for p in model.top.parameters()) / 1e6 == pytest.approx(millions, rel=0.05)
    same = build("resnet18", 2, 0)
    assert all(
        torch.equal(model.state_dict()[name], tensor) for name, tensor in same.stem.state_dict(prefix="stem.").items()
    )


def test_two_views_share_a_trunk_and_are_told_apart_by_their_top() -> None:
    model = build("resnet18", 2, 0, top="two_views")
    films = torch.randn(2, 1, 3, 128, 96, generator=torch.Generator().manual_seed(0))
    both = torch.cat(tuple(films), dim=2)
    maps = model.to_level("unit1", both)
    joined = model.top[0](maps)
    assert maps.shape == (1, 512, 8, 3) and joined.shape == (1, 1024, 4, 3)
    assert torch.equal(joined[:, :512], maps[:, :, :4]) and torch.equal(joined[:, 512:], maps[:, :, 4:])
    assert model.head.in_features == 1024 and model(both).shape == (1, 2)
    assert not torch.allclose(model(both), model(torch.cat(tuple(films.flip(0)), dim=2)))


@pytest.mark.parametrize(("backbone", "rows"), [("resnet18", 3), ("vgg11_bn", 5), ("efficientnet_b0", 3)])
def test_no_layer_of_the_trunk_sees_both_views(backbone: str, rows: int) -> None:
    """80 rows are no multiple of the stride; each film's maps are those of the trunk on the film alone."""
    pair, one = (build(backbone, 2, 0, top=top).eval() for top in ("two_views", "mbconv"))
    films = torch.randn(2, 2, 3, 80, 64, generator=torch.Generator().manual_seed(0))
    for model in (pair, fast(pair, "block")):
        with torch.no_grad():
            maps = model.to_level("unit1", torch.cat(tuple(films), dim=2))
            alone = torch.cat([one.to_level("unit1", film) for film in films], dim=2)
            assert maps.shape[2] == 2 * rows
        torch.testing.assert_close(maps, alone, rtol=1e-3, atol=1e-4)


def test_breasts_begin_with_the_trunk_of_films_alone() -> None:
    samples = bright_squares(30)
    inputs = Inputs(samples, "train", torch.device("cpu"))
    before = build("resnet18", 2, 7, top="mbconv")
    given = training("two_views", start="films")
    model = initial_model(run(), given, 5, inputs, inputs.rows("train"), before.state_dict)
    for name in ("stem", "unit2", "unit1"):
        own, theirs = (net.get_submodule(name).state_dict() for net in (model, before))
        assert all(torch.equal(own[key], theirs[key]) for key in own)
    assert model.head.out_features == 5 and model.head.in_features == 1024


def test_the_last_pooling_of_vgg_comes_before_its_top() -> None:
    model = build("vgg11_bn", 2, 0, top="vgg")
    features = model.to_level("unit1", torch.zeros(1, 3, 128, 96))
    assert features.shape[2:] == (8, 6) and model.top[0](features).shape[2:] == (4, 3)


def test_maps_are_of_unit1_and_follow_the_gradient_through_the_top() -> None:
    samples = bright_squares(30)
    inputs = Inputs(samples, "train", torch.device("cpu"))
    model = initial_model(run(), training("residual"), 5, inputs, inputs.rows("train"))
    rows, evaluation = inputs.rows("test")[:3], EvaluationConfig(explains="logit")
    found = explain(model, Source(inputs, rows), evaluation, ("grad_cam",), ("predicted",), lambda _: None)
    pixels = inputs(rows)
    features = model.to_level("unit1", pixels).detach().requires_grad_()
    logits = model.head(model.pool(model.top(features)))
    (gradient,) = torch.autograd.grad(logits[torch.arange(3), found.predicted].sum(), features)
    expected = (gradient.mean(dim=(2, 3), keepdim=True) * features).sum(dim=1).detach().numpy()
    np.testing.assert_allclose(found.maps["grad_cam", "predicted"], expected, rtol=1e-3, atol=1e-6)


@pytest.mark.usefixtures("thin_trunk")
def test_the_top_trains_first_and_then_every_layer(tmp_path: Path) -> None:
    samples, how = bright_squares(60), training("residual", balance="class_weights")
    results = list(fit(run(), how, samples, tmp_path / "run", tmp_path / "cache", "cpu"))
    assert [result.phase for result in results] == [1, 1, 2, 2]
    assert results[0].rates == {"head": 1e-3, "top": 1e-3}
    assert results[2].rates == dict.fromkeys(("head", "top", "unit1", "unit2", "stem"), 1e-4)


@pytest.mark.usefixtures("thin_trunk")
@pytest.mark.parametrize("top", ["mbconv", "two_views"])
def test_the_last_block_trains_with_the_top_and_what_lies_below_stays(tmp_path: Path, top: Top) -> None:
    films, given = bright_squares(60), run("vgg11_bn", "last_block")
    samples = replace(films, pixels=films.pixels.repeat(2, axis=1), masks=films.masks.repeat(2, axis=1))
    how = training(top)
    first = first_model(given, how, samples)
    results = list(fit(given, how, samples, tmp_path / "run", tmp_path / "cache", "cpu"))
    assert [result.phase for result in results] == [1, 1]
    assert results[0].rates == {"head": 1e-3, "top": 1e-3, "unit1.conv1": 5e-5, "unit1.conv2": 1e-4}
    best = load_model(given, how, samples.classes, tmp_path / "run", results[-1].checkpoints[0])
    for name, block in best.blocks.items():
        before = first.blocks[name].state_dict()
        same = all(torch.equal(tensor, before[key]) for key, tensor in block.state_dict().items())
        assert same is (name in ("stem", "unit2")), name


@pytest.mark.usefixtures("thin_trunk")
@pytest.mark.parametrize("strategy", ["two_step", "last_block"])
def test_features_below_the_top_are_computed_once_and_give_the_same_losses(tmp_path: Path, strategy: str) -> None:
    samples, how = bright_squares(60), training("residual")
    cached, plain = (
        next(fit(run("resnet18", strategy), how, samples, tmp_path / name, cache, "cpu"))
        for name, cache in (("a", tmp_path / "cache"), ("b", None))
    )
    assert cached.train_loss == pytest.approx(plain.train_loss, rel=1e-4)
    assert cached.validation_loss == pytest.approx(plain.validation_loss, rel=1e-3)


def test_small_batches_leave_the_trunks_normalisation_as_it_was() -> None:
    model = build("resnet18", 2, 0, top="residual")
    for batch, measured in ((4, False), (8, True)):
        set_modes(model, ALL, batch)
        assert model.stem.bn1.training is measured and model.top[0].bn1.training
    set_modes(model, TOP)
    assert not model.stem.bn1.training and model.top[0].bn1.training
    assert [group["name"] for group in parameter_groups(model, TOP, run(), "published")] == ["head", "top"]


def test_augmented_films_keep_shape_and_range_and_differ() -> None:
    films = torch.rand(4, 1, 48, 32).expand(-1, 3, -1, -1)
    torch.manual_seed(0)
    found, again = as_mammogram(films), as_mammogram(films)
    assert found.shape == films.shape and not torch.equal(found, again)
    assert torch.equal(found[:, 0], found[:, 1]) and found.min() >= films.min() and found.max() <= films.max()


def test_the_views_of_a_breast_are_augmented_each_by_itself() -> None:
    film = torch.rand(1, 1, 48, 32)
    torch.manual_seed(0)
    first = as_mammogram(film)
    torch.manual_seed(0)
    upper, lower = as_mammogram(torch.cat([film, film / 2 + 3], dim=2), views=2).chunk(2, dim=2)
    assert torch.equal(upper, first) and not torch.allclose(lower, upper / 2 + 3)
    assert lower.min() >= 3 and upper.max() <= 1


def test_the_auc_ranks_and_weights_balance() -> None:
    labels = torch.tensor([0, 0, 0, 1])
    assert mean_auc(torch.tensor([[2.0, 0], [1, 0], [0, 0], [0, 3]]), labels) == 1
    assert mean_auc(torch.zeros(4, 2), labels) == 0.5
    weights = class_weights(labels, 3)
    assert weights.tolist() == pytest.approx([4 / 6, 2, 1]) and weights[labels].mean() == pytest.approx(1)


@pytest.mark.usefixtures("thin_trunk")
def test_the_best_epoch_is_that_of_the_highest_auc(tmp_path: Path) -> None:
    samples = bright_squares(60)
    how = training("none", stopping=StoppingConfig(patience=3, max_epochs=3, monitor="auc"))
    results = list(fit(run(), how, samples, tmp_path / "run", tmp_path / "cache", "cpu"))
    assert all(result.checkpoints[0].role == "best" for result in results)
    one = samples.labels.copy()
    one[samples.splits == "validation"] = 1
    with pytest.raises(ValueError, match="monitor auc"):
        next(fit(run(), how, replace(samples, labels=one), tmp_path / "other", None, "cpu"))
