"""A run: what trains and what does not, cached features, reproducibility, failure."""

import math
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from lesionlens.attribution import closed_form
from lesionlens.config.training import Normalise, RunConfig, StoppingConfig, TrainingConfig
from lesionlens.errors import CheckpointError, DivergedError, TrainingError
from lesionlens.models.classifier import BLOCKS
from lesionlens.records import Checkpoint, EpochResult, SampleArrays, Statistics
from lesionlens.training.checkpoints import load_model, read_checkpoint, slim
from lesionlens.training.epochs import batches, reproducible
from lesionlens.training.fit import Fit, choose_device, first_model, fit
from lesionlens.training.inputs import Inputs
from lesionlens.training.strategies import HEAD_1, HEAD_1_2, PHASES, Stopper, parameter_groups

pytestmark = pytest.mark.usefixtures("thin")

CPU = torch.device("cpu")
Make = Callable[..., SampleArrays]
MakeRun = Callable[..., RunConfig]
MakeTraining = Callable[..., TrainingConfig]


def figures(results: list[EpochResult]) -> list[tuple[float, float, float]]:
    return [(each.train_loss, each.validation_loss, each.validation_accuracy) for each in results]


@pytest.mark.parametrize("name", ["resnet18", "vgg11_bn"])
def test_each_phase_trains_its_blocks_and_leaves_the_rest_as_it_was(
    name: str, tmp_path: Path, make_patches: Make, make_run: MakeRun, make_training: MakeTraining
) -> None:
    """Every epoch in a run that resumes after the one before: what never trained has the first bits, the rest moves."""
    patches, run = make_patches(), make_run(name)
    training = make_training(epochs=2)
    first = first_model(run, training, patches).state_dict()
    best = before = first
    known: tuple[Checkpoint, ...] = ()
    for number in range(1, 7):
        result = next(fit(run, training, patches, tmp_path / "run", tmp_path / "cache", "cpu", known))
        assert (result.epoch, result.phase) == (number, (number + 1) // 2)
        trained = PHASES["gradual"][result.phase - 1].blocks
        assert {key.split(".")[0] for key in result.rates} == set(trained)
        after = read_checkpoint(tmp_path / "run", result.checkpoints[1]).model
        assert {key.split(".")[0] for key in after} == set(BLOCKS)
        start = best if number % 2 else before  # a phase starts from the best epoch of the phase before
        for key, tensor in after.items():
            if key.split(".")[0] in trained:
                assert not torch.equal(tensor, start[key]), f"{key} did not change in epoch {number}"
            else:
                assert torch.equal(tensor, first[key]), f"{key} changed in epoch {number}"
        before, known = after, result.checkpoints
        best = read_checkpoint(tmp_path / "run", known[0]).model


@pytest.mark.parametrize("name", ["resnet18", "vgg11_bn"])
def test_cached_features_change_losses_by_rounding_only(
    name: str, tmp_path: Path, make_patches: Make, make_run: MakeRun, make_training: MakeTraining
) -> None:
    """In every phase, also with ragged batches, against the run that computes every layer anew."""
    patches, training = make_patches(19, 13, size=64), make_training(1)
    run = make_run(name, batch_size=8, head_rate=1e-4, unit1_rate=3e-5)
    cached, computed = (
        [each.validation_loss for each in fit(run, training, patches, tmp_path / place, folder, "cpu")]
        for place, folder in (("a", tmp_path / "cache"), ("b", None))
    )
    assert cached == pytest.approx(computed, rel=1e-4)
    assert len(list((tmp_path / "cache").rglob("*.npy"))) == 3


@pytest.mark.parametrize("name", ["resnet18", "vgg11_bn"])
def test_an_epoch_is_the_plain_loop(
    name: str, tmp_path: Path, make_patches: Make, make_run: MakeRun, make_training: MakeTraining
) -> None:
    """The loop as anyone would write it: every layer runs in every step, in torch's default layout, with plain Adam."""
    patches, training = make_patches(32, 16, size=64), make_training()
    run = make_run(name, "simultaneous", head_rate=1e-3, unit1_rate=1e-4)
    result = next(fit(run, training, patches, tmp_path / "run", tmp_path / "cache", "cpu"))
    model, inputs = first_model(run, training, patches), Inputs(patches, "train", CPU)
    optimizer = torch.optim.Adam(parameter_groups(model, HEAD_1_2, run, "published"))
    labels, seen = torch.from_numpy(patches.labels), []
    with reproducible(inputs.device, run.seed, 1):
        model.train()
        model.stem.eval().requires_grad_(False)
        for batch in batches(inputs.rows("train"), 16, run.seed, 1):
            optimizer.zero_grad()
            loss = torch.nn.functional.cross_entropy(model(inputs(batch)), labels[batch])
            loss.backward()  # type: ignore[no-untyped-call]
            optimizer.step()
            seen.append(loss.item())
        model.eval()
        with torch.no_grad():
            rows = inputs.rows("validation")
            validation = torch.nn.functional.cross_entropy(model(inputs(rows)), labels[rows])
    assert result.train_loss == pytest.approx(sum(seen) / 2, rel=1e-4)
    assert result.validation_loss == pytest.approx(float(validation), rel=1e-3)


REGULARISED = {"weight_decay": 0.1, "dropout": 0.5, "label_smoothing": 0.2, "schedule": "cosine"}


def test_regularised_epochs_are_those_of_a_loop_and_resume(
    tmp_path: Path, make_patches: Make, make_run: MakeRun, make_training: MakeTraining
) -> None:
    """AdamW, dropout before the head, label smoothing by hand and the rates of a cosine, against the loop as anyone
    would write it; validation is without any."""
    patches, run = make_patches(32, 16, size=64), make_run("vgg11_bn", "last_block", head_rate=1e-3, unit1_rate=1e-4)
    training = make_training(4, **REGULARISED)
    results = list(fit(run, training, patches, tmp_path / "run", tmp_path / "cache", "cpu"))
    factors = [0.5, *(0.5 + 0.5 * math.cos(math.pi * epoch / 3) for epoch in range(3))]
    assert [each.rates["head"] for each in results] == pytest.approx([1e-3 * factor for factor in factors])
    model, inputs = first_model(run, training, patches), Inputs(patches, "train", CPU)
    optimizer = torch.optim.AdamW(parameter_groups(model, HEAD_1, run, "published"), weight_decay=0.1)
    rates, labels = [group["lr"] for group in optimizer.param_groups], torch.from_numpy(patches.labels)
    for epoch, (factor, result) in enumerate(zip(factors, results, strict=True), start=1):
        for group, rate in zip(optimizer.param_groups, rates, strict=True):
            group["lr"] = rate * factor
        seen = []
        with reproducible(CPU, run.seed, epoch):
            model.eval()
            model.unit1.train()
            for batch in batches(inputs.rows("train"), 16, run.seed, epoch):
                optimizer.zero_grad()
                pooled = model.pool(model.unit1(model.to_level("unit2", inputs(batch)).detach()))
                logits = torch.nn.functional.dropout(pooled, 0.5) @ model.head.weight.T + model.head.bias
                spread = torch.nn.functional.one_hot(labels[batch], 5) * 0.8 + 0.2 / 5
                loss = -(spread * torch.log_softmax(logits, 1)).sum(1).mean()
                loss.backward()  # type: ignore[no-untyped-call]
                optimizer.step()
                seen.append(loss.item())
            model.eval()
            with torch.no_grad():
                rows = inputs.rows("validation")
                validation = torch.nn.functional.cross_entropy(model(inputs(rows)), labels[rows])
        assert result.train_loss == pytest.approx(sum(seen) / 2, rel=1e-3)
        assert result.validation_loss == pytest.approx(float(validation), rel=5e-3)
    first = fit(run, training, patches, tmp_path / "b", tmp_path / "cache", "cpu")
    known = [next(first) for _ in range(2)][-1].checkpoints
    first.close()
    rest = fit(run, training, patches, tmp_path / "b", tmp_path / "cache", "cpu", known)
    assert figures(list(rest)) == figures(results)[2:]


@pytest.mark.parametrize("mode", ["train", "per_class"])
def test_what_trains_is_normalised_as_asked(
    mode: Normalise, tmp_path: Path, make_patches: Make, make_run: MakeRun, make_training: MakeTraining
) -> None:
    patches, rows = make_patches(), list(range(10))
    made = Fit(make_run(), make_training(normalise=mode), patches, tmp_path, tmp_path / "cache", CPU)
    assert made.features is not None
    for inputs in (made.inputs, made.features.inputs):
        assert torch.equal(inputs(rows), Inputs(patches, mode, CPU)(rows))
    assert not torch.equal(Inputs(patches, "per_class", CPU)(rows), Inputs(patches, "train", CPU)(rows))


@pytest.mark.parametrize(("option", "value"), REGULARISED.items())
def test_each_option_changes_training(
    option: str, value: object, tmp_path: Path, make_patches: Make, make_run: MakeRun, make_training: MakeTraining
) -> None:
    patches, run = make_patches(16, 8, size=64), make_run("resnet18", "last_block", head_rate=1e-2)
    losses = [
        [each.validation_loss for each in fit(run, training, patches, tmp_path / str(i), tmp_path / "cache", "cpu")]
        for i, training in enumerate((make_training(2), make_training(2, **{option: value})))
    ]
    assert losses[0] != losses[1]


def test_augmentation_of_every_step_stores_no_features_says_so_and_resumes(
    tmp_path: Path, make_patches: Make, make_run: MakeRun, make_training: MakeTraining, caplog: pytest.LogCaptureFixture
) -> None:
    patches, run, training = make_patches(), make_run("resnet18", "simultaneous"), make_training(3, augment="mammogram")
    whole = figures(list(fit(run, training, patches, tmp_path / "a", tmp_path / "cache", "cpu")))
    assert not (tmp_path / "cache").exists()
    assert "samples are changed at random, so every layer runs in every step" in caplog.text
    first = next(iter(fit(run, training, patches, tmp_path / "b", None, "cpu")))
    rest = fit(run, training, patches, tmp_path / "b", None, "cpu", first.checkpoints)
    assert figures([first, *rest]) == whole
    plain = figures(list(fit(run, make_training(3), patches, tmp_path / "c", None, "cpu")))
    assert plain[0][0] != whole[0][0]


def test_averaged_weights_are_those_of_a_loop_and_are_what_is_kept(
    tmp_path: Path, make_patches: Make, make_run: MakeRun, make_training: MakeTraining
) -> None:
    """Weights and batch statistics after every step, averaged by hand; no early stopping, in each of three phases."""
    patches, run = make_patches(32, 16, size=64), make_run("resnet18", head_rate=1e-3, unit1_rate=1e-4)
    training = make_training(stopping=StoppingConfig(max_epochs=2, patience=1, min_delta=10, keep="averaged"))
    results = list(fit(run, training, patches, tmp_path / "run", tmp_path / "cache", "cpu"))
    assert [(each.phase, each.epoch) for each in results] == [(1, 1), (1, 2), (2, 3), (2, 4), (3, 5), (3, 6)]
    best, last = results[-1].checkpoints
    assert best.path == last.path and best.role == "best" and best.epoch == 6
    model, inputs = first_model(run, training, patches), Inputs(patches, "train", CPU)
    labels, epoch = torch.from_numpy(patches.labels), 0
    for phase in PHASES["gradual"]:
        optimizer = torch.optim.Adam(parameter_groups(model, phase, run, "published"))
        average: dict[str, torch.Tensor] = {}
        for _ in range(2):
            epoch += 1
            for name, block in model.blocks.items():
                block.train(name in phase.blocks).requires_grad_(name in phase.blocks)
            for batch in batches(inputs.rows("train"), 16, run.seed, epoch):
                optimizer.zero_grad()
                torch.nn.functional.cross_entropy(model(inputs(batch)), labels[batch]).backward()  # type: ignore[no-untyped-call]
                optimizer.step()
                for name, weight in model.state_dict().items():
                    if weight.is_floating_point():
                        before = average.get(name, weight.clone())
                        average[name] = before * 0.99 + weight * 0.01
        model.load_state_dict(average, strict=False)
    kept = load_model(run, training, patches.classes, tmp_path / "run", best)
    raw = read_checkpoint(tmp_path / "run", last).model
    for name, weight in kept.state_dict().items():
        if weight.is_floating_point() and not name.startswith("stem"):
            assert torch.dist(weight, average[name]) < 0.2 * torch.dist(weight, raw[name]), name  # rounding
    with torch.no_grad():
        rows = inputs.rows("validation")
        loss = torch.nn.functional.cross_entropy(kept(inputs(rows)), labels[rows])
    assert results[-1].validation_loss == pytest.approx(float(loss), rel=1e-3)
    small = slim(tmp_path / "run", best)
    again = load_model(run, training, patches.classes, tmp_path / "run", small)
    assert small.bytes < best.bytes / 2
    assert all(torch.equal(a, b) for a, b in zip(kept.state_dict().values(), again.state_dict().values(), strict=True))


@pytest.mark.parametrize("name", ["resnet18", "vgg11_bn"])
def test_bfloat16_agrees_with_float32_and_resumes_to_the_bit(
    name: str, tmp_path: Path, make_patches: Make, make_run: MakeRun, make_training: MakeTraining
) -> None:
    """Losses, AUC and Grad-CAM maps after two epochs; weights and moments stay float32."""
    patches, run = make_patches(32, 24, size=64), make_run(name, "last_block", head_rate=1e-3, unit1_rate=1e-4)
    results, maps = {}, {}
    for precision in ("float32", "bfloat16"):
        training, folder = make_training(2, precision=precision), tmp_path / precision
        results[precision] = list(fit(run, training, patches, folder, tmp_path / "cache", "cpu"))
        last = results[precision][-1].checkpoints[1]
        assert {each.dtype for each in read_checkpoint(folder, last).model.values()} <= {torch.float32, torch.int64}
        model = load_model(run, training, patches.classes, folder, last)
        outputs = closed_form.forward(model, "block", Inputs(patches, "train", CPU)(range(len(patches.ids))))
        maps[precision] = closed_form.grad_cam(model, "block", outputs, torch.from_numpy(patches.labels))
    for name_, tolerance in (("train_loss", 0.02), ("validation_loss", 0.02)):
        wanted = [getattr(each, name_) for each in results["float32"]]
        found = [getattr(each, name_) for each in results["bfloat16"]]
        assert found == pytest.approx(wanted, rel=tolerance) and found != wanted
    both = torch.stack([each.flatten() for each in maps.values()])
    assert torch.corrcoef(both)[0, 1] > 0.99
    first = next(iter(fit(run, training, patches, tmp_path / "b", tmp_path / "cache", "cpu")))
    rest = fit(run, training, patches, tmp_path / "b", tmp_path / "cache", "cpu", first.checkpoints)
    again = [each.checkpoints[1].sha256 for each in (first, *rest)]
    assert again == [each.checkpoints[1].sha256 for each in results["bfloat16"]]


@pytest.mark.parametrize("name", ["resnet18", "vgg11_bn"])
def test_first_weights_are_made_on_the_cpu_whatever_trains_them(
    name: str, make_patches: Make, make_run: MakeRun, make_training: MakeTraining
) -> None:
    """A run's own inputs may live on a GPU, where a network on the CPU cannot take them."""
    patches, training = make_patches(), make_training()
    on_meta = Fit(make_run(name), training, patches, Path(), None, torch.device("meta"))
    assert on_meta.inputs([0]).device.type == "meta"
    model = first_model(on_meta.run, on_meta.training, on_meta.patches)
    assert {each.device.type for each in model.state_dict().values()} == {"cpu"}
    measured = [module for module in model.modules() if isinstance(module, torch.nn.BatchNorm2d)]
    assert measured and all((module.running_mean != 0).any() for module in measured)


def test_same_configuration_same_bits_other_seed_other_run(
    tmp_path: Path, make_patches: Make, make_run: MakeRun, make_training: MakeTraining
) -> None:
    """A network with random depth, too: nothing depends on the state of the global generator."""
    patches, training = make_patches(size=64), make_training(epochs=2)
    digests = []
    for i, seed in enumerate((0, 0, 1)):
        torch.manual_seed(i)
        run = make_run("efficientnet_b0", "simultaneous", seed=seed)
        results = list(fit(run, training, patches, tmp_path / str(i), tmp_path / "cache", "cpu"))
        digests.append([each.checkpoints[1].sha256 for each in results])
    assert digests[0] == digests[1]
    assert not set(digests[0]) & set(digests[2])


def test_threads_of_one_process_do_not_disturb_each_other(
    tmp_path: Path, make_patches: Make, make_run: MakeRun, make_training: MakeTraining
) -> None:
    """Random depth draws from the process's generator: two runs at once must still be what each is alone."""
    patches, training = make_patches(size=64), make_training(epochs=2)

    def losses(name: str, seed: int) -> list[tuple[float, float, float]]:
        run = make_run("efficientnet_b0", "simultaneous", seed=seed)
        return figures(list(fit(run, training, patches, tmp_path / f"{name} {seed}", tmp_path / "cache", "cpu")))

    alone = [losses("alone", seed) for seed in (0, 1)]
    with ThreadPoolExecutor(2) as pool:
        together = list(pool.map(losses, ("together", "together"), (0, 1)))
    assert together == alone


def test_it_learns(tmp_path: Path, make_patches: Make, make_run: MakeRun, make_training: MakeTraining) -> None:
    results = list(
        fit(
            make_run("resnet18", "simultaneous", batch_size=8),
            make_training(epochs=6),
            make_patches(40, 20, size=48),
            tmp_path / "run",
            tmp_path / "cache",
            "cpu",
        )
    )
    assert max(each.validation_accuracy for each in results) >= 0.8
    assert results[-1].train_loss < results[0].train_loss / 3


def test_a_phase_starts_from_the_best_of_the_phase_before(
    tmp_path: Path, make_patches: Make, make_run: MakeRun, make_training: MakeTraining
) -> None:
    """Rates near zero later on: phase 2 then stays at the best loss of phase 1, not at its last."""
    run = make_run("vgg11_bn", head_rate=1.0, unit1_rate=1e-12)
    training = make_training(epochs=20, patience=2)
    stream = fit(run, training, make_patches(), tmp_path / "run", tmp_path / "cache", "cpu")
    first: list[EpochResult] = []
    for result in stream:
        if result.phase == 2:
            break
        first.append(result)
        best = result.checkpoints[0]
        model = read_checkpoint(tmp_path / "run", best).model
    lowest = min(first, key=lambda each: each.validation_loss)
    stoppers = [Stopper()]
    for each in first:
        stoppers.append(stoppers[-1].after(each.validation_loss, training.stopping))
    assert [each.improved for each in first] == [each.counted for each in stoppers[1:]]
    assert lowest.epoch == best.epoch < first[-1].epoch
    after = read_checkpoint(tmp_path / "run", result.checkpoints[1]).model
    assert all(torch.equal(model[key], after[key]) for key in model if key.startswith("stem."))
    assert result.epoch == first[-1].epoch + 1 and result.improved
    torch.testing.assert_close(after["unit1.0.weight"], model["unit1.0.weight"], rtol=0, atol=1e-9)


@pytest.mark.parametrize("start", ["anew", "loaded"])
def test_no_phase_ends_worse_than_it_began(
    tmp_path: Path, make_patches: Make, make_run: MakeRun, make_training: MakeTraining, start: str
) -> None:
    """Rates that destroy the network in the second phase; the study's stopper, which begins anew, keeps the damage."""
    run = make_run("vgg11_bn", head_rate=0.03, unit1_rate=0.9)
    training = make_training()
    training = training.model_copy(update={"stopping": StoppingConfig(patience=1, max_epochs=2, start=start)})
    results = list(fit(run, training, make_patches(), tmp_path / "run", tmp_path / "cache", "cpu"))
    lowest = min(results, key=lambda each: each.validation_loss)
    assert lowest.phase == 1 and results[-1].phase == 3
    best = results[-1].checkpoints[0]
    assert (best.epoch == lowest.epoch) is (start == "loaded")
    assert (best.phase == 3) is (start == "anew")


def test_a_gpu_without_room_fails_its_run_and_says_what_helps(
    tmp_path: Path, make_patches: Make, make_run: MakeRun, make_training: MakeTraining, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*given: object) -> float:
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB")

    monkeypatch.setattr("lesionlens.training.fit.train_epoch", full)
    expected = r"run resnet18 gradual batch 16 .* more memory than the GPU has free.*2\.00 GiB.*RUNS_PER_DEVICE"
    with pytest.raises(TrainingError, match=expected):
        next(fit(make_run(), make_training(), make_patches(), tmp_path / "run", None, "cpu"))


def test_the_checkpoint_gives_the_network_back(
    tmp_path: Path, make_patches: Make, make_run: MakeRun, make_training: MakeTraining
) -> None:
    patches, run, training = make_patches(), make_run("vgg11_bn", "simultaneous"), make_training(epochs=2)
    results = list(fit(run, training, patches, tmp_path / "run", None, "cpu"))
    best = results[-1].checkpoints[0]
    model = load_model(run, training, patches.classes, tmp_path / "run", best)
    inputs = Inputs(patches, "train", torch.device("cpu"))
    rows = inputs.rows("validation")
    with torch.no_grad():
        loss = torch.nn.functional.cross_entropy(model(inputs(rows)), torch.from_numpy(patches.labels[rows]))
    assert not model.training
    losses = [each.validation_loss for each in results]
    assert best.epoch == 1 + losses.index(min(losses))
    assert float(loss) == pytest.approx(min(losses), rel=1e-4)
    with pytest.raises(CheckpointError, match="not made by run"):
        load_model(make_run("vgg11_bn", seed=3), training, patches.classes, tmp_path / "run", best)


def test_a_loss_that_is_not_finite_ends_the_run(
    tmp_path: Path, make_patches: Make, make_run: MakeRun, make_training: MakeTraining
) -> None:
    patches = replace(make_patches(), statistics=(Statistics(None, math.nan, 0.2),))
    with pytest.raises(DivergedError, match=r"training loss is nan in epoch 1 of run vgg11_bn gradual.*lower rates"):
        next(fit(make_run("vgg11_bn"), make_training(), patches, tmp_path / "run", None, "cpu"))
    assert not (tmp_path / "run").exists()


def test_an_empty_split_is_named(
    tmp_path: Path, make_patches: Make, make_run: MakeRun, make_training: MakeTraining
) -> None:
    with pytest.raises(ValueError, match="no validation samples"):
        next(fit(make_run(), make_training(), make_patches(8, 0), tmp_path, None, "cpu"))


def test_devices(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert (choose_device("auto"), choose_device("cpu")) == ("cpu", "cpu")
    with pytest.raises(TrainingError, match="no CUDA device"):
        choose_device("cuda")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    assert choose_device("auto") == "cuda"
