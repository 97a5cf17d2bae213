"""Guidance: its loss against a plain loop and numerical gradients, whose annotations are shown, and runs with it."""

import math
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.nn.functional import adaptive_avg_pool2d

from lesionlens.config.training import GuidanceConfig, RunConfig, TrainingConfig
from lesionlens.models.classifier import Classifier
from lesionlens.records import EpochResult, SampleArrays
from lesionlens.training.checkpoints import load_model
from lesionlens.training.fit import fit
from lesionlens.training.guidance import evidence_within, guide, shown
from lesionlens.training.inputs import Inputs

pytestmark = pytest.mark.usefixtures("thin")

Make = Callable[..., SampleArrays]
MakeRun = Callable[..., RunConfig]
MakeTraining = Callable[..., TrainingConfig]
CPU = torch.device("cpu")


def drawn(classes: int = 3) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    made = torch.Generator().manual_seed(0)
    head = torch.randn(classes, 4, generator=made, dtype=torch.float64)
    features = torch.randn(5, 4, 3, 2, generator=made, dtype=torch.float64)
    return head, features, torch.tensor([0, 2, 1, 1, 0]) % classes, torch.rand(5, 3, 2, generator=made)


def by_loop(head: Tensor, features: Tensor, labels: Tensor, shares: Tensor) -> list[float]:
    found = []
    for a, y, share in zip(features.tolist(), labels.tolist(), shares.tolist(), strict=True):
        evidence, on = [], []
        for row in range(3):
            for column in range(2):
                contrast = [head[y][k] - sum(w[k] for w in head) / len(head) for k in range(4)]
                evidence.append(float(sum(contrast[k] * a[k][row][column] for k in range(4))))
                on.append(share[row][column])
        total = sum(math.exp(d) for d in evidence)
        found.append(sum(math.exp(d) / total * s for d, s in zip(evidence, on, strict=True)))
    return found


def test_the_loss_is_the_plain_loops() -> None:
    head, features, labels, shares = drawn()
    found = evidence_within(head.float(), features.float(), labels, shares)
    assert found.tolist() == pytest.approx(by_loop(head, features, labels, shares), rel=1e-5)


def test_what_all_classes_share_changes_nothing() -> None:
    head, features, labels, shares = drawn()
    before = evidence_within(head.float(), features.float(), labels, shares)
    shifted = evidence_within(head.float() + torch.randn(1, 4) * 10, features.float(), labels, shares)
    assert torch.allclose(before, shifted, atol=1e-4)


def test_gradients_are_the_numerical_ones(monkeypatch: pytest.MonkeyPatch) -> None:
    head, features, labels, shares = drawn()
    monkeypatch.setattr(Tensor, "float", Tensor.double)  # numerical differences need the digits
    inputs = (head.requires_grad_(), features.requires_grad_())
    assert torch.autograd.gradcheck(lambda w, a: evidence_within(w, a, labels, shares.double()), inputs)


def test_a_map_without_positive_values_still_has_a_gradient() -> None:
    """The obvious definition, a ratio of sums over the rectified map of the true class, dies there and goes blank."""
    head, features, labels, shares = drawn(classes=2)
    head, features = head.abs().float(), (-features.abs()).float().requires_grad_()
    rectified = torch.relu(torch.einsum("nc,nchw->nhw", head[labels], features))
    obvious = (rectified * shares).sum() / rectified.sum().clamp(min=1e-6)
    [dead] = torch.autograd.grad(obvious, features)
    [alive] = torch.autograd.grad(evidence_within(head, features, labels, shares).sum(), features)
    assert not dead.any() and alive.abs().amax(dim=(1, 2, 3)).min() > 1e-4


def test_annotations_shown_are_nested_seeded_and_never_of_the_test_split(make_patches: Make) -> None:
    patches = make_patches(120, 40)
    masks = np.zeros_like(patches.masks)
    masks[:, 4:9, 3:12] = True
    patches = replace(
        patches, masks=masks, splits=np.where(np.arange(len(patches.ids)) % 9 == 0, "test", patches.splits)
    )
    tenth, all_of_them = shown(patches, 0.1, 0), shown(patches, 1, 0)
    for split in ("train", "validation"):
        annotated = patches.has_mask & (patches.splits == split)
        assert all_of_them[annotated].all() and tenth[annotated].sum() == math.ceil(0.1 * annotated.sum())
        assert 1 <= shown(patches, 0.01, 0)[annotated].sum() <= 2
    assert not all_of_them[~patches.has_mask | (patches.splits == "test")].any()
    assert (tenth <= shown(patches, 0.3, 0)).all() and (tenth <= all_of_them).all()
    assert (shown(patches, 0.1, 0) == tenth).all() and (shown(patches, 0.1, 1) != tenth).any()


def test_only_what_is_shown_adds_to_the_loss_and_annotations_grow(make_patches: Make) -> None:
    patches = make_patches()
    masks = np.zeros_like(patches.masks)
    masks[:, 8:16, 8:16] = True
    patches = replace(patches, masks=masks, has_mask=np.arange(len(patches.ids)) % 2 == 0)
    made = guide(patches, GuidanceConfig(weight=3), 0, CPU)
    grown = guide(patches, GuidanceConfig(weight=3, dilation=0.125), 0, CPU)
    assert made is not None and grown is not None and guide(patches, GuidanceConfig(), 0, CPU) is None
    rows = torch.arange(6)
    features, head = torch.rand(6, 4, 4, 4), torch.rand(5, 4)
    term = made.term(head, features, torch.tensor(patches.labels)[rows], rows)
    there = torch.tensor(patches.has_mask)[rows] & torch.tensor(patches.splits != "test")[rows]
    shares = made.masks[rows].float().unflatten(1, (4, -1)).unflatten(3, (4, -1)).mean(dim=(2, 4))
    own = 3 * (1 - evidence_within(head, features, torch.tensor(patches.labels)[rows], shares))
    assert there.any() and torch.allclose(term[there], own[there]) and not term[~there].any()
    [first] = np.flatnonzero(patches.has_mask & (patches.splits == "train"))[:1]
    size, reach = masks.shape[1], 0.125 * masks.shape[1]
    assert made.masks[first].sum() == 64 and grown.masks[first][8, 8 - int(reach)] and size == len(grown.masks[first])
    assert not grown.masks[first][8, max(8 - int(reach) - 1, 0)] or reach >= 8


def annotated(make_patches: Make) -> SampleArrays:
    patches = make_patches()
    masks = np.zeros_like(patches.masks)
    masks[:, : masks.shape[1] // 2, : masks.shape[1] // 2] = True
    return replace(patches, masks=masks & patches.has_mask[:, None, None])


@torch.no_grad()
def evidence(patches: SampleArrays, model: Classifier) -> float:
    """Mean proportion of the evidence for the true class on the annotations that training showed."""
    rows = np.flatnonzero(patches.has_mask & (patches.splits == "train"))
    features = model.to_level("unit1", Inputs(patches, "train", CPU)(rows.tolist()))
    shares = adaptive_avg_pool2d(torch.from_numpy(patches.masks[rows]).float(), features.shape[2:])
    return float(evidence_within(model.head.weight, features, torch.from_numpy(patches.labels[rows]), shares).mean())


def figures(results: list[EpochResult]) -> list[tuple[float, float]]:
    return [(each.train_loss, each.validation_loss) for each in results]


def test_weight_zero_is_the_unguided_run_to_the_bit(
    tmp_path: Path, make_patches: Make, make_run: MakeRun, make_training: MakeTraining
) -> None:
    patches, training = annotated(make_patches), make_training(2)
    plain = list(fit(make_run(strategy="simultaneous"), training, patches, tmp_path / "a", None, "cpu"))
    guidance = GuidanceConfig(weight=0, fraction=0.1, dilation=0.1)
    none = make_run(strategy="simultaneous", guidance=guidance)
    assert figures(list(fit(none, training, patches, tmp_path / "b", None, "cpu"))) == figures(plain)


@pytest.mark.parametrize("strategy", ["gradual", "simultaneous"])
def test_guided_runs_move_the_evidence_and_resume_to_the_bit(
    tmp_path: Path, make_patches: Make, make_run: MakeRun, make_training: MakeTraining, strategy: str
) -> None:
    patches, training = annotated(make_patches), make_training(3)
    run = make_run("vgg11_bn", strategy, guidance=GuidanceConfig(weight=3))
    whole = list(fit(run, training, patches, tmp_path / "a", tmp_path / "cache", "cpu"))
    course = fit(run, training, patches, tmp_path / "b", tmp_path / "cache", "cpu")
    some = [next(course) for _ in range(len(whole) - 2)]
    course.close()
    rest = fit(run, training, patches, tmp_path / "b", tmp_path / "cache", "cpu", some[-1].checkpoints)
    assert figures([*some, *rest]) == figures(whole)
    unguided = make_run("vgg11_bn", strategy)
    plain = list(fit(unguided, training, patches, tmp_path / "c", tmp_path / "cache", "cpu"))
    head_only = [each.phase == 1 and strategy == "gradual" for each in plain]
    for one, other, same in zip(figures(whole), figures(plain), head_only, strict=False):
        assert (one == other) == same
    moved, left = (
        evidence(patches, load_model(each, training, patches.classes, tmp_path / folder, results[-1].checkpoints[1]))
        for each, folder, results in ((run, "a", whole), (unguided, "c", plain))
    )
    assert moved > left + 0.1


def test_a_phase_that_guidance_begins_with_does_not_compete_with_the_loss_before(
    tmp_path: Path, make_patches: Make, make_run: MakeRun, make_training: MakeTraining
) -> None:
    """The head's phase has cross-entropy alone, which a loss with a term more hardly falls below."""
    training = make_training(2)
    training = training.model_copy(update={"stopping": training.stopping.model_copy(update={"start": "loaded"})})
    run = make_run(guidance=GuidanceConfig(weight=100))
    results = list(fit(run, training, annotated(make_patches), tmp_path, tmp_path / "cache", "cpu"))
    best = results[-1].checkpoints[0]
    assert best.role == "best" and best.phase > 1
