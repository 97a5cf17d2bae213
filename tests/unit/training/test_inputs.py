"""What a step takes for a sample: pixels, cached features in the layout trained layers are fastest in, augmentation."""

from collections.abc import Callable

import numpy as np
import pytest
import torch
from torch import Tensor

from lesionlens.models.backbones import build
from lesionlens.records import SampleArrays
from lesionlens.training.inputs import Inputs, cached, computed

CPU = torch.device("cpu")


def test_samples_are_normalised_by_their_own_class_where_asked(make_patches: Callable[..., SampleArrays]) -> None:
    patches = make_patches()
    plain, own = (Inputs(patches, mode, CPU)([3, 4]) for mode in ("train", "per_class"))
    assert plain.shape == (2, 3, 32, 32) and plain.dtype == torch.float32
    assert torch.equal(plain[:, 0], plain[:, 2])
    grey = patches.pixels[3].astype(np.float64) / 255
    np.testing.assert_allclose(own[0, 1].numpy(), (grey - 0.4) / 0.16, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("layout", ["channels_last", "contiguous", "pooled"])
def test_rows_keep_the_layout_they_are_stored_in(layout: str) -> None:
    last = torch.randn(9, 4, 5, 6)
    features: Tensor = {
        "channels_last": last.permute(0, 3, 1, 2),
        "contiguous": last,
        "pooled": last[:, :, 0, 0].contiguous(),
    }[layout]
    rows = torch.tensor([7, 0, 7, 3])
    found = cached(features, CPU)(rows)
    assert torch.equal(found, torch.stack([features[i] for i in rows]))
    kept = torch.channels_last if layout == "channels_last" else torch.contiguous_format
    assert found.is_contiguous(memory_format=kept)


def test_features_of_one_pixel_keep_the_default_strides() -> None:
    """They lie in both layouts at once; a convolution chooses its arithmetic, and so its last bits, by the strides."""
    features = torch.randn(9, 4, 1, 1)
    found = cached(features, CPU)(torch.tensor([7, 0]))
    assert found.stride() == features[torch.tensor([7, 0])].stride() == (4, 1, 1, 1)


def test_computed_features_are_those_of_the_frozen_blocks(make_patches: Callable[..., SampleArrays]) -> None:
    model, inputs, rows = build("resnet18", 5, 0), Inputs(make_patches(), "train", CPU), torch.tensor([4, 1])
    found = computed(model, "unit2", inputs)(rows)
    assert not found.requires_grad and torch.equal(found, model.unit2(model.stem(inputs([4, 1]))))
    changed = computed(model, "pixels", inputs, lambda pixels: -pixels)(rows)
    assert torch.equal(changed, -inputs(rows))
    assert changed.stride(1) == inputs(rows).stride(1) == 0  # by which convolutions know that they are grey
