"""Boxes move with their lesions."""

import torch

from lesionlens.detection.augment import moved


def film() -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """A bright square on a dark film, and its box."""
    pixels = torch.full((3, 80, 60), -1.5)
    pixels[:, 30:46, 20:32] = 2.0
    return pixels, torch.tensor([[20.0, 30.0, 32.0, 46.0]]), torch.tensor([1])


def test_the_box_stays_on_the_bright_square() -> None:
    torch.manual_seed(0)
    places = set()
    for _ in range(40):
        pixels, boxes, labels = moved(*film())
        assert pixels.shape == (3, 80, 60) and labels.tolist() == [1] and pixels.min() >= -1.5
        rows, columns = torch.where(pixels[0] > 0.25)
        found = torch.tensor([columns.min(), rows.min(), columns.max() + 1, rows.max() + 1], dtype=torch.float32)
        assert (found - boxes[0]).abs().max() <= 1.5
        places.add(tuple(boxes[0].round().tolist()))
    assert len(places) > 20


def test_a_film_without_lesions_has_none_afterwards() -> None:
    pixels, boxes, labels = moved(film()[0], torch.zeros(0, 4), torch.zeros(0, dtype=torch.int64))
    assert boxes.shape == (0, 4) and labels.shape == (0,) and pixels.shape == (3, 80, 60)


def test_a_lesion_that_left_the_film_is_left_out() -> None:
    torch.manual_seed(1)
    pixels, _, labels = film()
    counts = {len(moved(pixels, torch.tensor([[0.0, 0.0, 2.0, 2.0]]), labels)[1]) for _ in range(60)}
    assert counts == {0, 1}


def test_the_global_generator_decides() -> None:
    results = []
    for seed in (3, 3, 4):
        torch.manual_seed(seed)
        results.append(moved(*film()))
    assert torch.equal(results[0][0], results[1][0]) and torch.equal(results[0][1], results[1][1])
    assert not torch.equal(results[0][0], results[2][0])
