"""Case-based models: losses against plain loops, push and prune by brute force, and runs that stop anywhere."""

from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from lesionlens.config.training import PrototypeConfig, RunConfig, TrainingConfig
from lesionlens.models.classifier import Classifier
from lesionlens.models.prototypes import layer_of, similarity
from lesionlens.records import Checkpoint, EpochResult, SampleArrays
from lesionlens.training.checkpoints import load_model, read_checkpoint
from lesionlens.training.fit import first_model
from lesionlens.training.inputs import Inputs, Source, computed
from lesionlens.training.prototypes import losses
from lesionlens.training.prototypes.fit import fit_prototypes
from lesionlens.training.prototypes.projection import neighbours, prune, push
from lesionlens.training.prototypes.schedule import stages

pytestmark = pytest.mark.usefixtures("thin")

CPU = torch.device("cpu")
TINY = PrototypeConfig(per_class=2, channels=8, warm=2, push_every=2, last=2, rounds=2, prune=(4, 2), topk=0.3)


@pytest.fixture(scope="module")
def patches(make_patches: Callable[..., SampleArrays]) -> SampleArrays:
    """Stripes of which half have an annotation, two samples a patient."""
    made = make_patches(24, 12, size=64)
    masks = np.zeros_like(made.masks)
    masks[::2, 10:30, 20:50] = True
    return replace(made, masks=masks, has_mask=masks.any(axis=(1, 2)))


@pytest.fixture(scope="module")
def planned(
    make_run: Callable[..., RunConfig], make_training: Callable[..., TrainingConfig]
) -> Callable[..., tuple[RunConfig, TrainingConfig]]:
    def make(config: PrototypeConfig = TINY, **changes: Any) -> tuple[RunConfig, TrainingConfig]:
        return make_run("resnet18", system="prototype", batch_size=8, **changes), make_training(prototypes=config)

    return make


@pytest.fixture
def model(patches: SampleArrays, planned: Callable[..., tuple[RunConfig, TrainingConfig]]) -> Classifier:
    return first_model(*planned(), patches)


def test_a_layer_is_its_formula(model: Classifier, patches: SampleArrays) -> None:
    """Place by place and prototype by prototype; a pruned one counts nothing."""
    features = model.to_level("unit1", Inputs(patches, "train", CPU)([0, 1, 2]))
    layer = layer_of(model)
    layer.kept[1] = False
    z, found = layer.embedded(features).detach(), layer(features)
    rows, columns = z.shape[2:]
    k = max(1, round(0.3 * rows * columns))
    for n in range(3):
        for j, vector in enumerate(layer.vectors.detach()):
            values = []
            for h in range(rows):
                for w in range(columns):
                    d = float(((z[n, :, h, w] - vector) ** 2).sum()) ** 0.5
                    values.append(np.log((d + 1) / (d + 1e-4)))
            expected = 0.0 if j == 1 else np.mean(sorted(values)[-k:])
            assert float(found[n, j]) == pytest.approx(expected, rel=1e-4)
    torch.testing.assert_close(model.logits(Inputs(patches, "train", CPU)([0, 1, 2])), found @ model.head.weight.T)
    own = layer.owners[None, :] == torch.arange(len(patches.classes))[:, None]
    assert model.head.bias is None and torch.equal(model.head.weight, torch.where(own, 1.0, -1.0))


@pytest.mark.parametrize("topk", [1.0, 0.3])
def test_losses_are_those_of_a_plain_loop(topk: float) -> None:
    torch.manual_seed(0)
    config = PrototypeConfig(topk=topk, cluster=0.8, separation=0.08, fine=0.085)
    distances, labels = torch.rand(5, 6, 4, 4) * 3, torch.tensor([0, 1, 2, 1, 0])
    owners, kept = torch.arange(6) // 2, torch.tensor([True] * 5 + [False])
    shown = torch.zeros(5, 16, 16, dtype=torch.bool)
    shown[:4, 3:9, 5:12] = True
    found = losses.added(distances, labels, owners, kept, shown, config)
    k = 1 if topk == 1 else round(0.3 * 16)
    for i in range(5):
        means = [float(distances[i, j].flatten().sort().values[:k].mean()) for j in range(6)]
        own = [j for j in range(5) if owners[j] == labels[i]]
        other = [j for j in range(5) if owners[j] != labels[i]]
        expected = 0.8 * min(means[j] for j in own) - 0.08 * min(means[j] for j in other)
        if i < 4:
            large = torch.nn.functional.interpolate(similarity(distances[i : i + 1]), (16, 16), mode="bilinear")[0]
            elsewhere = sum(float((large[j] ** 2).sum()) for j in other) ** 0.5
            astray = sum(float((large[j][~shown[i]] ** 2).sum()) for j in own) ** 0.5
            expected += 0.085 * 224 / 16 * (elsewhere + astray)
        assert float(found[i]) == pytest.approx(expected, rel=1e-4)
    weight = torch.randn(3, 6)
    plain = sum(abs(float(weight[c, j])) for c in range(3) for j in range(6) if owners[j] != c)
    assert float(losses.other_weights(weight, owners)) == pytest.approx(1e-4 * plain, rel=1e-5)
    plain_net = losses.added(distances, labels, owners, kept, shown, config.model_copy(update={"fine": 0.0}))
    assert (plain_net[:4] < found[:4]).all() and plain_net[4] == found[4]


def test_the_margin_is_a_band_around_the_outline() -> None:
    y, x = np.mgrid[:80, :80]
    distance = np.hypot(y - 40, x - 40)
    found = losses.band(distance <= 20)
    assert found[(distance > 18) & (distance < 24)].all()
    assert not found[(distance < 16) | (distance > 26)].any() and not losses.band(np.zeros((8, 8), bool)).any()


def pushed(model: Classifier, patches: SampleArrays) -> tuple[Source, list[int]]:
    """Push; what unit1 makes of samples, and the training rows."""
    inputs = Inputs(patches, "train", CPU)
    outputs, rows = computed(model, "unit1", inputs), inputs.rows("train")
    push(model, patches, outputs, rows)
    return outputs, rows


def test_a_push_finds_the_nearest_places_of_its_own_class_in_training(model: Classifier, patches: SampleArrays) -> None:
    """And of different samples for the prototypes of a class, the nearest pair first."""
    layer = layer_of(model)
    with torch.no_grad():  # both of class 0 are nearest to the same sample
        layer.vectors[1].copy_(layer.vectors[0])
    before = layer.vectors.detach().clone()
    outputs, rows = pushed(model, patches)
    sources: Tensor = layer.sources
    with torch.no_grad():
        z = {row: layer.embedded(outputs(torch.tensor([row])))[0] for row in rows}
    for label in range(5):
        members = [j for j in range(10) if int(layer.owners[j]) == label]
        pairs = [
            min(
                (float((z[row][:, h, w] - before[j]).norm()), j, row, h, w)
                for h in range(z[row].shape[1]) for w in range(z[row].shape[2])
            )
            for j in members for row in rows if patches.labels[row] == label
        ]  # fmt: skip
        taken: dict[int, tuple[int, int, int]] = {}
        for _, j, row, h, w in sorted(pairs):
            if j not in taken and row not in [place[0] for place in taken.values()]:
                taken[j] = row, h, w
        for j in members:
            row, h, w = taken[j]
            assert sources[j].tolist() == [int(patches.ids[row]), h, w]
            torch.testing.assert_close(layer.vectors[j], z[row][:, h, w], atol=1e-5, rtol=0)
    training = set(patches.ids[patches.splits == "train"].tolist())
    assert set(sources[:, 0].tolist()) <= training and sources[0, 0] != sources[1, 0]


def test_equal_places_give_the_lowest_samples(model: Classifier, patches: SampleArrays) -> None:
    flat = replace(patches, pixels=np.full_like(patches.pixels, 90))
    _, rows = pushed(model, flat)
    sources: Tensor = layer_of(model).sources
    for label in range(5):
        first = sorted(int(flat.ids[row]) for row in rows if flat.labels[row] == label)
        assert sorted(sources[2 * label : 2 * label + 2, 0].tolist()) == first[:2]


def test_a_class_of_one_sample_gives_it_to_all_its_prototypes(model: Classifier, patches: SampleArrays) -> None:
    labels = patches.labels.copy()
    own = np.flatnonzero((labels == 3) & (patches.splits == "train"))
    labels[own[1:]] = 4
    pushed(model, replace(patches, labels=labels))
    sources: Tensor = layer_of(model).sources
    assert sources[6:8, 0].tolist() == [int(patches.ids[own[0]])] * 2


def test_pruning_drops_what_lives_among_another_class_but_never_a_whole_class(
    model: Classifier, patches: SampleArrays
) -> None:
    layer = layer_of(model)
    outputs, rows = pushed(model, patches)
    with torch.no_grad():  # the first prototype of class 0 becomes one of class 1
        layer.vectors[0].copy_(layer.vectors[2])
    _, near = neighbours(model, outputs, rows, 4)
    own = [int((patches.labels[near[j]] == int(layer.owners[j])).sum()) for j in range(10)]
    prune(model, patches, outputs, rows, TINY)
    kept: Tensor = layer.kept
    for label in range(5):
        of_class = [2 * label, 2 * label + 1]
        enough = [own[j] >= 2 for j in of_class]
        if not any(enough):
            enough[int(np.argmax([own[j] for j in of_class]))] = True
        assert [bool(kept[j]) for j in of_class] == enough
    strict = TINY.model_copy(update={"prune": (24, 24)})
    prune(model, patches, outputs, rows, strict)
    assert kept.reshape(5, 2).sum(dim=1).tolist() == [1] * 5


def test_only_pushed_and_refitted_states_are_the_best_of_a_run(
    patches: SampleArrays, planned: Callable[..., tuple[RunConfig, TrainingConfig]], tmp_path: Path
) -> None:
    """And what trains in a stage moves while all else keeps its bits."""
    run, training = planned()
    course = stages(run, TINY)
    assert [(s.name, s.begins) for s in course] == [
        ("warm", None), ("joint", None), ("last", "push"), ("joint", None), ("last", "push"), ("last", "prune"),
    ]  # fmt: skip
    before = first_model(run, training, patches).state_dict()
    results = []
    for result in fit_prototypes(run, training, patches, tmp_path / "run", tmp_path / "cache", "cpu"):
        results.append(result)
        after = read_checkpoint(tmp_path / "run", result.checkpoints[1]).model
        moved = {key.split(".")[0] for key in after if not torch.equal(after[key], before[key])}
        stage = course[result.phase - 1]
        pruned = stage.begins == "prune" and result.epoch % 2 == 1
        expected = set(stage.phase.blocks) | ({"pool"} if stage.begins and result.epoch % 2 == 1 else set())
        assert moved == expected or pruned
        before = after
    assert [r.epoch for r in results] == list(range(1, TINY.epochs + 1))
    best = results[-1].checkpoints[0]
    losses_of = {r.epoch: r.validation_loss for r in results if r.phase == len(course)}
    assert best.epoch == min(losses_of, key=lambda epoch: losses_of[epoch]) and best.phase == len(course)
    model = load_model(run, training, patches.classes, tmp_path / "run", best)
    sources: Tensor = layer_of(model).sources
    assert set(sources[:, 0].tolist()) <= set(patches.ids[patches.splits == "train"].tolist())
    middle = [r.checkpoints[0] for r in results if r.phase == 4]  # while the second round trains, the first one's best
    assert {found.phase for found in middle} == {3}


def untimed(results: Iterator[EpochResult]) -> list[EpochResult]:
    return [replace(result, seconds=0.0) for result in results]


def test_stopped_after_any_epoch_a_run_ends_in_the_same_bits(
    patches: SampleArrays, planned: Callable[..., tuple[RunConfig, TrainingConfig]], tmp_path: Path
) -> None:
    """Every stage is left and entered again, and so is the step between any two."""
    run, training = planned()

    def train(folder: Path, resume: tuple[Checkpoint, ...] = ()) -> Iterator[EpochResult]:
        return fit_prototypes(run, training, patches, folder, tmp_path / "cache", "cpu", resume)

    whole = untimed(train(tmp_path / "whole"))
    pieces: list[EpochResult] = []
    while not pieces or pieces[-1].epoch < TINY.epochs:
        course = train(tmp_path / "pieces", pieces[-1].checkpoints if pieces else ())
        pieces += untimed(iter([next(course)]))
        course.close()
    assert pieces == whole
    assert untimed(train(tmp_path / "pieces", pieces[-1].checkpoints)) == []


def test_a_damaged_last_state_goes_on_from_the_best(
    patches: SampleArrays, planned: Callable[..., tuple[RunConfig, TrainingConfig]], tmp_path: Path
) -> None:
    run, training = planned()

    def train(folder: Path, resume: tuple[Checkpoint, ...] = ()) -> Iterator[EpochResult]:
        return fit_prototypes(run, training, patches, folder, tmp_path / "cache", "cpu", resume)

    whole = untimed(train(tmp_path / "whole"))
    course = train(tmp_path / "damaged")
    reached = [next(course) for _ in range(8)][-1]
    course.close()
    best, last = reached.checkpoints
    assert best.epoch < last.epoch
    (tmp_path / "damaged" / last.path).write_bytes(b"damaged")
    assert untimed(train(tmp_path / "damaged", reached.checkpoints)) == whole[best.epoch :]


def test_fine_annotation_can_be_left_out(
    patches: SampleArrays, planned: Callable[..., tuple[RunConfig, TrainingConfig]], tmp_path: Path
) -> None:
    """ProtoPNet is `fine: 0, topk: 1`; what is shown then changes nothing."""
    plain = TINY.model_copy(update={"fine": 0.0, "topk": 1.0, "warm": 1, "push_every": 1, "last": 1, "rounds": 1})
    lost = {}
    for kind in ("lesion", "margin", "none"):
        config = plain.model_copy(update={"annotation": kind, "fine": 0.085 if kind != "lesion" else 0.0})
        run, training = planned(config, strategy="simultaneous")
        results = fit_prototypes(run, training, patches, tmp_path / kind, tmp_path / "cache", "cpu")
        lost[kind] = [result.train_loss for result in results]
    assert lost["lesion"] == lost["none"] != lost["margin"]
