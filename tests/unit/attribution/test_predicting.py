"""A run applied to new images."""

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from lesionlens.attribution.predicting import Predictor, box_of_mask, box_within, open_image
from lesionlens.config.study import StudyConfig
from lesionlens.config.training import RunConfig, TrainingConfig
from lesionlens.images.image import GreyImage
from lesionlens.models.backbones import build
from lesionlens.records import Box, Statistics
from lesionlens.samples.normalise import normalise

STATISTICS = (Statistics(None, 0.4, 0.2),)


def predictor(normalise: str = "train") -> Predictor:
    study = StudyConfig.model_validate(
        {"data": {"source": "phantom"}, "patches": {"size": 64, "context": 2.0, "jitter": 1.0}}
    )
    run, training = (
        RunConfig(backbone="resnet18", strategy="gradual"),
        TrainingConfig(weights="none", normalise=normalise),
    )  # type: ignore[arg-type]
    return Predictor(build("resnet18", 3, 0), study, run, training, ("A", "B", "C"), STATISTICS)


def test_probabilities_are_those_of_the_network_on_normalised_pixels() -> None:
    patches = np.random.default_rng(0).integers(0, 255, (5, 64, 64), dtype=np.uint8)
    found, run = predictor().predict(patches), predictor()
    grey = torch.from_numpy(normalise(patches, np.array(["A"] * 5), STATISTICS, "train"))
    expected = torch.softmax(run.model.logits(grey[:, None].expand(-1, 3, -1, -1)), 1).detach().numpy()
    np.testing.assert_allclose(found.probabilities, expected, atol=1e-5)
    assert found.predicted.tolist() == expected.argmax(axis=1).tolist() and found.maps.shape == (5, 2, 2)


def test_a_window_is_cut_as_in_the_study_without_jitter() -> None:
    image = GreyImage(np.arange(200 * 100, dtype=np.uint8).reshape(200, 100), 255, True)
    patch, window = predictor().patch(image, Box(40, 90, 60, 110))
    assert window == Box(30, 80, 70, 120) and patch.shape == (64, 64)
    whole, window = predictor().patch(image)
    assert window == Box(0, 0, 100, 200) and (whole[:, :10] == 0).all()  # padded to a square, not stretched


def test_masks_and_boxes_say_where_a_lesion_lies(tmp_path: Path) -> None:
    mask = np.zeros((50, 40), dtype=np.uint8)
    mask[10:20, 5:9] = 255
    Image.fromarray(mask).save(tmp_path / "m.png")
    Image.fromarray(np.full((50, 40), 7, dtype=np.uint8)).save(tmp_path / "i.png")
    image, run = open_image(tmp_path / "i.png"), predictor()
    assert box_of_mask(tmp_path / "m.png", image, run.study) == Box(5, 10, 9, 20)
    assert box_within((1, 2, 40, 50), image) == Box(1, 2, 40, 50)
    for corners in ((1, 2, 41, 50), (5, 5, 5, 9), (-1, 0, 4, 4)):
        with pytest.raises(ValueError, match="does not lie in the image of 40 x 50"):
            box_within(corners, image)


def test_what_cannot_be_predicted_is_refused() -> None:
    with pytest.raises(ValueError, match=r"uint8 \[n, 64, 64\]"):
        predictor().predict(np.zeros((1, 32, 32), dtype=np.uint8))
    with pytest.raises(ValueError, match="needs the true class"):
        predictor("per_class").predict(np.zeros((1, 64, 64), dtype=np.uint8))


def test_a_picture_shows_where_the_map_is_high() -> None:
    grid = np.zeros((2, 2), dtype=np.float32)
    grid[0, 0] = 1
    picture = np.asarray(predictor().picture(np.full((64, 64), 100, dtype=np.uint8), grid)).astype(int)
    assert picture.shape == (64, 64, 3)
    assert picture[4, 4, 1] > picture[60, 60, 1] + 50  # viridis: green where high
