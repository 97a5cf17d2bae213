"""Rows of stored features: the values, and the layout in which trained layers take them."""

import pytest
import torch
from torch import Tensor

from lesionlens.training.sources import stored


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16])
@pytest.mark.parametrize("layout", ["channels_last", "contiguous", "pooled"])
def test_rows_in_float32_and_in_the_layout_they_are_stored_in(dtype: torch.dtype, layout: str) -> None:
    last = torch.randn(9, 4, 5, 6).to(dtype)
    features: Tensor = {
        "channels_last": last.permute(0, 3, 1, 2),
        "contiguous": last,
        "pooled": last[:, :, 0, 0].contiguous(),
    }[layout]
    rows = torch.tensor([7, 0, 7, 3])
    found = stored(features, torch.device("cpu"))(rows)
    assert found.dtype == torch.float32 and torch.equal(found, torch.stack([features[i].float() for i in rows]))
    kept = torch.channels_last if layout == "channels_last" else torch.contiguous_format
    assert found.is_contiguous(memory_format=kept)


def test_features_of_one_pixel_keep_the_default_strides() -> None:
    """They lie in both layouts at once; a convolution chooses its arithmetic, and so its last bits, by the strides."""
    features = torch.randn(9, 4, 1, 1)
    found = stored(features, torch.device("cpu"))(torch.tensor([7, 0]))
    assert found.stride() == features[torch.tensor([7, 0])].stride() == (4, 1, 1, 1)
