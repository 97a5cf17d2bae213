"""A detector trained on bright squares: it learns, stops, goes on where it was, and refuses what it cannot do."""

from pathlib import Path

import numpy as np
import pytest
import torch

from lesionlens.config.training import DetectorConfig, Precision, RunConfig, StoppingConfig, TrainingConfig
from lesionlens.detection.fit import Films, detect, fit_detector, load_detector, step_seconds
from lesionlens.detection.marks import Lesions
from lesionlens.errors import CheckpointError
from lesionlens.records import EpochResult, SampleArrays, Statistics
from lesionlens.training.checkpoints import read_checkpoint
from lesionlens.training.inputs import Inputs

pytestmark = pytest.mark.usefixtures("thin")

RUN = RunConfig(backbone="resnet18", strategy="simultaneous", batch_size=4, head_rate=1e-3, unit1_rate=1e-3, seed=0)


def training(epochs: int, precision: Precision = "float32") -> TrainingConfig:
    return TrainingConfig(
        precision=precision,
        detector=DetectorConfig(channels=32),
        weights="none",
        augment="flips",
        stopping=StoppingConfig(max_epochs=epochs, patience=epochs),
    )


def films(train: int = 12, side: int = 64) -> Films:
    """Noise with a bright square on three films of four."""
    count = train + 8
    generator = np.random.default_rng(0)
    pixels = generator.integers(20, 60, (count, side, side - 16)).astype(np.uint8)
    film = np.flatnonzero(np.arange(count) % 4).astype(np.int64)
    corners = generator.integers(4, side - 40, (len(film), 2))
    boxes = np.concatenate([corners, corners + 16], axis=1).astype(np.float64)
    for at, (x, y) in zip(film, corners, strict=True):
        pixels[at, y : y + 16, x : x + 16] += 150
    samples = SampleArrays(
        digest="f" * 64,
        classes=("B", "M"),
        ids=np.arange(count),
        pixels=pixels,
        masks=np.zeros((count, 1, 1), bool),
        labels=np.zeros(count, np.int64),
        splits=np.array(["train"] * train + ["validation"] * 4 + ["test"] * 4),
        patients=np.array([f"P{i}" for i in range(count)]),
        has_mask=np.zeros(count, bool),
        groups=("lesion", "lesion"),
        statistics=(Statistics(None, 0.2, 0.15),),
    )
    return Films(samples, Lesions(film, boxes, np.zeros(len(film), np.int64)))


def whole(
    folder: Path, epochs: int, given: Films | None = None, precision: Precision = "float32", **resume: object
) -> list[EpochResult]:
    return list(fit_detector(RUN, training(epochs, precision), given or films(), folder, "cpu", **resume))


@pytest.fixture(scope="module")
def through(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[EpochResult]]:
    """A run of two epochs without a stop."""
    folder = tmp_path_factory.mktemp("through")
    return folder, whole(folder, 2)


def test_bfloat16_stops_and_goes_on_to_the_same_bits(through: tuple[Path, list[EpochResult]], tmp_path: Path) -> None:
    """And is near float32: 8 bits of each number are an error of 0.4 %, which training may add up."""
    results = whole(tmp_path / "whole", 2, precision="bfloat16")
    first = next(fit_detector(RUN, training(2, "bfloat16"), films(), tmp_path / "parts", "cpu"))
    (second,) = whole(tmp_path / "parts", 2, precision="bfloat16", resume=first.checkpoints)
    for a, b in zip(results, (first, second), strict=True):
        assert (a.train_loss, a.validation_loss, a.validation_froc) == (
            b.train_loss,
            b.validation_loss,
            b.validation_froc,
        )
        assert [each.sha256 for each in a.checkpoints] == [each.sha256 for each in b.checkpoints]
    for a, plain in zip(results, through[1], strict=True):
        assert a.train_loss != plain.train_loss
        assert a.train_loss == pytest.approx(plain.train_loss, rel=0.05)


def test_a_run_that_was_stopped_ends_in_the_same_bits(through: tuple[Path, list[EpochResult]], tmp_path: Path) -> None:
    first = next(fit_detector(RUN, training(2), films(), tmp_path, "cpu"))
    (second,) = whole(tmp_path, 2, resume=first.checkpoints)
    for a, b in zip(through[1], (first, second), strict=True):
        assert (a.train_loss, a.validation_loss, a.validation_froc) == (
            b.train_loss,
            b.validation_loss,
            b.validation_froc,
        )
        assert [each.sha256 for each in a.checkpoints] == [each.sha256 for each in b.checkpoints]
    assert whole(tmp_path, 2, resume=second.checkpoints) == []
    assert {path.name for path in tmp_path.iterdir()} == {each.path for each in second.checkpoints}
    (tmp_path / second.checkpoints[1].path).write_bytes(b"damaged")
    again = whole(tmp_path, 2, resume=second.checkpoints)
    assert [each.epoch for each in again] == ([2] if second.checkpoints[0].epoch == 1 else [1, 2])


def test_the_best_epoch_is_that_of_the_highest_validation_froc(through: tuple[Path, list[EpochResult]]) -> None:
    folder, results = through
    assert results[-1].checkpoints[0].epoch == 1 + int(np.argmax([each.validation_froc for each in results]))
    assert all(each.validation_accuracy is None for each in results)
    assert results[0].rates == {"head": 1e-3, "unit1": 1e-3, "unit2": 1e-3, "stem": 1e-3}
    model = load_detector(RUN, training(2), ("B", "M"), folder, results[-1].checkpoints[0])
    again = detect(model, Inputs(films().samples, "train", torch.device("cpu")), [12, 13])
    assert set(again.film) <= {0, 1}
    with pytest.raises(CheckpointError, match="was not made by run"):
        load_detector(RUN, training(4), ("B", "M"), folder, results[-1].checkpoints[0])


def test_weights_depend_on_training_films_alone(tmp_path: Path) -> None:
    """What the other splits show changes no weight and no statistic; what test shows changes no score either."""
    plain = whole(tmp_path / "plain", 1)[0]
    for split in ("validation", "test"):
        given = films()
        given.samples.pixels[given.samples.splits == split] = 255
        altered = whole(tmp_path / split, 1, given)[0]
        first, second = (
            read_checkpoint(tmp_path / name, each.checkpoints[1]).model
            for name, each in ((split, altered), ("plain", plain))
        )
        assert all(torch.equal(first[name], second[name]) for name in first)
        assert (altered.validation_loss == plain.validation_loss) == (split == "test")


def test_a_step_is_measured_in_both_precisions() -> None:
    found = step_seconds(RUN, training(1), (64, 48))
    assert list(found) == ["float32", "bfloat16"] and all(0 < seconds < 60 for seconds in found.values())


def test_a_split_without_lesions_is_refused(tmp_path: Path) -> None:
    given = films()
    kept = given.lesions.film < 12
    fewer = Films(
        given.samples, Lesions(given.lesions.film[kept], given.lesions.boxes[kept], given.lesions.labels[kept])
    )
    with pytest.raises(ValueError, match="no film of the validation split"):
        next(fit_detector(RUN, training(1), fewer, tmp_path, "cpu"))
