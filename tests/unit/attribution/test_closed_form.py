"""Grad-CAM in closed form against the package, for one network per way of cutting."""

import numpy as np
import pytest
import torch

from lesionlens.attribution import closed_form
from lesionlens.attribution.registry import METHODS
from lesionlens.models.classifier import Layer
from tests.unit.attribution.networks import CLASSES, ODD, SIDE, calibrated, pixels

FOLDED = ("vgg11_bn", "resnet18", "efficientnet_b0")


@pytest.mark.parametrize("layer", ["block", "conv"])
@pytest.mark.parametrize(
    ("name", "side", "precision", "bound"),
    [(name, ODD, torch.float64, 2e-7) for name in FOLDED]
    + [(name, SIDE, torch.float32, 1e-5) for name in ("vgg16", "vgg11_bn", "resnet18", "resnet50")],
)
def test_the_closed_form_is_the_package_where_it_holds(
    name: str, side: int, precision: torch.dtype, bound: float, layer: Layer
) -> None:
    model, batch = calibrated(name).to(precision), pixels(side).to(precision)
    outputs = closed_form.forward(model, layer, batch)
    torch.testing.assert_close(outputs.logits, model(batch).detach(), rtol=1e-4, atol=1e-4)
    reference = METHODS["grad_cam"].maps(model, batch, CLASSES, model.map_block(layer))
    closed = closed_form.grad_cam(model, layer, outputs, torch.from_numpy(CLASSES)).numpy()
    apart = np.abs(closed - reference).max() / np.abs(reference).max()
    if closed_form.holds(model, layer):
        assert apart < bound
    else:
        assert (name, layer) == ("efficientnet_b0", "conv") and apart > 1e-3


@pytest.mark.parametrize("layer", ["block", "conv"])
@pytest.mark.parametrize("name", FOLDED)
def test_the_fast_copy_differs_by_rounding_and_leaves_the_model_alone(name: str, layer: Layer) -> None:
    model, batch = calibrated(name), pixels()
    before = {key: value.clone() for key, value in model.state_dict().items()}
    slow = closed_form.forward(model, layer, batch)
    quick = closed_form.forward(closed_form.fast(model, layer), layer, batch)
    for a, b in ((slow.logits, quick.logits), (slow.layer, quick.layer)):
        assert (a - b).abs().max() < 1e-4 * a.abs().max()
    after = model.state_dict()
    assert before.keys() == after.keys() and all(torch.equal(before[key], after[key]) for key in before)


def test_the_closed_form_starts_from_the_stem_too() -> None:
    model, batch = calibrated("resnet18"), pixels()
    with torch.no_grad():
        stem = model.to_level("stem", batch)
    whole, rest = closed_form.forward(model, "conv", batch), closed_form.forward(model, "conv", stem, "stem")
    torch.testing.assert_close(whole.layer, rest.layer)
    torch.testing.assert_close(whole.logits, rest.logits)
