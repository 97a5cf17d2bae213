"""First weights: ImageNet files found, checked or asked for; random networks calibrated."""

import hashlib
import urllib.error
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from pydantic import ValidationError
from safetensors.torch import save_file
from torch import nn
from torchvision import models

from lesionlens.config.training import RunConfig, TrainingConfig
from lesionlens.errors import WeightsMissingError
from lesionlens.models import weights
from lesionlens.models.backbones import BACKBONES, build
from lesionlens.models.weights import (
    fetch_weights,
    imagenet_url,
    initial_model,
    load_weights,
    own_weights,
    state_digest,
    with_digest,
)
from lesionlens.records import SampleArrays
from lesionlens.training.inputs import Inputs


@pytest.fixture(autouse=True)
def offline(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No network, an empty hub folder."""
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "torch"))
    monkeypatch.delenv("LESIONLENS_WEIGHTS", raising=False)

    def refuse(*args: object, **kwargs: object) -> None:
        raise urllib.error.URLError("Network is unreachable")

    monkeypatch.setattr(torch.hub, "download_url_to_file", refuse)


@pytest.fixture
def save(monkeypatch: pytest.MonkeyPatch) -> Callable[[Path, dict[str, torch.Tensor]], Path]:
    """Writes the weights file of resnet18, named as torchvision names them; returns where."""

    def write(folder: Path, state: dict[str, torch.Tensor]) -> Path:
        folder.mkdir(parents=True, exist_ok=True)
        torch.save(state, folder / "new")
        name = f"resnet18-{hashlib.sha256((folder / 'new').read_bytes()).hexdigest()[:8]}.pth"
        monkeypatch.setattr(
            weights,
            "imagenet_url",
            lambda backbone: f"https://x/{name}" if backbone == "resnet18" else imagenet_url(backbone),
        )
        return (folder / "new").rename(folder / name)

    return write


Save = Callable[[Path, dict[str, torch.Tensor]], Path]


def hub(tmp_path: Path) -> Path:
    return tmp_path / "torch" / "hub" / "checkpoints"


def test_first_imagenet_weights_of_every_backbone() -> None:
    """The study's: torchvision has published better ones since."""
    assert {name: Path(imagenet_url(name)).name for name in BACKBONES} == {
        "vgg16": "vgg16-397923af.pth",
        "vgg19": "vgg19-dcbb9e9d.pth",
        "vgg11_bn": "vgg11_bn-6002323d.pth",
        "resnet34": "resnet34-b627a593.pth",
        "resnet50": "resnet50-0676ba61.pth",
        "resnet18": "resnet18-f37072fd.pth",
        "efficientnet_b0": "efficientnet_b0_rwightman-7f5810bc.pth",
    }


def test_missing_weights_say_which_file_goes_where(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LESIONLENS_WEIGHTS", str(tmp_path / "mine"))
    with pytest.raises(WeightsMissingError) as caught:
        load_weights("vgg16", "imagenet")
    for part in ("vgg16-397923af.pth", "https://download.pytorch.org/models/ ", str(tmp_path / "mine"), "none"):
        assert part in str(caught.value)
    assert str(hub(tmp_path)) in str(caught.value)


def test_one_error_names_every_file_that_is_missing(tmp_path: Path, save: Save) -> None:
    save(hub(tmp_path), {"weight": torch.zeros(3)})
    with pytest.raises(WeightsMissingError) as caught:
        fetch_weights(["vgg16", "resnet18", "vgg19"], "imagenet")
    assert str(caught.value).startswith("ImageNet weights vgg16-397923af.pth, vgg19-dcbb9e9d.pth are not on")


@pytest.mark.parametrize("place", ["LESIONLENS_WEIGHTS", "hub"])
def test_pretrained_blocks_and_a_seeded_head(
    place: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    make_run: Callable[..., RunConfig],
    make_training: Callable[..., TrainingConfig],
    make_patches: Callable[..., SampleArrays],
    save: Save,
) -> None:
    state = models.resnet18(weights=None).state_dict()
    folder = tmp_path / "mine" if place == "LESIONLENS_WEIGHTS" else hub(tmp_path)
    if place == "LESIONLENS_WEIGHTS":
        monkeypatch.setenv(place, str(folder))
    save(folder, state)
    inputs = Inputs(make_patches(), "imagenet", torch.device("cpu"))
    first, second = (
        initial_model(make_run(seed=seed), make_training(weights="imagenet"), 5, inputs, inputs.rows("train"))
        for seed in (0, 1)
    )
    assert torch.equal(first.stem.get_parameter("conv1.weight"), state["conv1.weight"])
    assert torch.equal(second.unit1.get_buffer("1.bn2.running_var"), state["layer4.1.bn2.running_var"])
    assert not torch.equal(first.head.weight, second.head.weight)


def test_a_centred_head_says_the_same_and_has_nothing_in_common(
    make_run: Callable[..., RunConfig],
    make_training: Callable[..., TrainingConfig],
    make_patches: Callable[..., SampleArrays],
) -> None:
    inputs = Inputs(make_patches(), "train", torch.device("cpu"))
    drawn, centred = (
        initial_model(make_run(), make_training(head=head), 5, inputs, inputs.rows("train"))
        for head in ("drawn", "centred")
    )
    with torch.no_grad():
        assert float(drawn.head.weight.mean(0).norm()) > 0.1 * float(drawn.head.weight.norm())
    assert torch.allclose(centred.head.weight.mean(0), torch.zeros(drawn.head.in_features), atol=1e-7)
    given = inputs(inputs.rows("validation"))
    with torch.no_grad():
        torch.testing.assert_close(centred(given).softmax(1), drawn(given).softmax(1))
        assert not torch.allclose(centred(given), drawn(given), atol=1e-3)


def test_a_damaged_file_is_not_used(tmp_path: Path, save: Save) -> None:
    with save(hub(tmp_path), {"weight": torch.zeros(3)}).open("r+b") as file:
        file.truncate(100)
    with pytest.raises(WeightsMissingError, match=r"damaged.*Fetch it again"):
        load_weights("resnet18", "imagenet")


def test_only_tensors_are_read(tmp_path: Path, save: Save) -> None:
    """A file that would run code on loading is refused, whatever its digest."""
    save(hub(tmp_path), {"weight": Path("x")})  # type: ignore[dict-item]
    with pytest.raises(WeightsMissingError, match="more than tensors"):
        load_weights("resnet18", "imagenet")


@pytest.mark.parametrize("kind", [".pth", ".safetensors"])
def test_an_own_file_is_used_for_its_backbone_and_recorded_by_digest(
    kind: str, tmp_path: Path, make_run: Callable[..., RunConfig], make_training: Callable[..., TrainingConfig],
    make_patches: Callable[..., SampleArrays],
) -> None:  # fmt: skip
    state, path = models.resnet18(weights=None, num_classes=3).state_dict(), tmp_path / f"mine{kind}"
    wrapped = {f"module.{name}": tensor for name, tensor in state.items()}
    save_file(wrapped, path) if kind == ".safetensors" else torch.save({"state_dict": wrapped, "epoch": 3}, path)
    weights = with_digest(make_training(weights=str(path)).weights)
    assert weights == f"{path}@{hashlib.sha256(path.read_bytes()).hexdigest()}" == with_digest(weights)
    assert make_training(weights=weights).weights == weights
    inputs = Inputs(make_patches(), "imagenet", torch.device("cpu"))
    made = initial_model(make_run(seed=0), make_training(weights=weights), 5, inputs, inputs.rows("train"))
    assert torch.equal(made.stem.get_parameter("conv1.weight"), state["conv1.weight"])
    assert torch.equal(made.unit1.get_buffer("1.bn2.running_var"), state["layer4.1.bn2.running_var"])
    with pytest.raises(WeightsMissingError, match=r"does not fit vgg16: of 26 tensors 0 tensors fit"):
        fetch_weights(["resnet18", "vgg16"], weights)
    with path.open("ab") as file:
        file.write(b"x")
    with pytest.raises(WeightsMissingError, match="has changed"):
        fetch_weights(["resnet18"], weights)


def test_an_own_file_that_is_no_state_dict_or_not_there_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "mine.pth"
    with pytest.raises(WeightsMissingError, match="is not there"):
        with_digest(str(path))
    for content, words in ((Path("x"), "more than tensors"), ({"epoch": 3}, "no state dict")):
        torch.save(content, path)
        with pytest.raises(WeightsMissingError, match=words):
            own_weights("resnet18", str(path))


@pytest.mark.parametrize("name", ["imagenett", "vgg16-00000000", "None"])
def test_other_words_are_no_weights(name: str) -> None:
    with pytest.raises(ValidationError, match="neither imagenet nor none"):
        TrainingConfig(weights=name)


@pytest.mark.parametrize("name", ["resnet18", "vgg11_bn", "efficientnet_b0"])
def test_calibration_makes_a_random_network_see(
    name: str,
    make_run: Callable[..., RunConfig],
    make_training: Callable[..., TrainingConfig],
    make_patches: Callable[..., SampleArrays],
) -> None:
    """Calibrated, what leaves a batch normalisation has variance about 1 on samples never used for it."""
    inputs = Inputs(make_patches(48, 32, size=64), "train", torch.device("cpu"))
    model = initial_model(make_run(name), make_training(), 5, inputs, inputs.rows("train"))
    assert not any(module.training for module in model.modules())
    assert {module.momentum for module in model.modules() if isinstance(module, nn.BatchNorm2d)} == {
        module.momentum for module in build(name, 5, 0).modules() if isinstance(module, nn.BatchNorm2d)
    }
    first = next(module for module in model.stem.modules() if isinstance(module, nn.BatchNorm2d))
    seen: list[torch.Tensor] = []
    first.register_forward_hook(lambda module, args, output: seen.append(output.clone()))
    with torch.no_grad():
        model(inputs(inputs.rows("validation")))
    spread = seen[0].std((0, 2, 3))
    assert 0.7 < float(spread.median()) < 1.4


def test_calibration_uses_training_samples_only(
    make_run: Callable[..., RunConfig],
    make_training: Callable[..., TrainingConfig],
    make_patches: Callable[..., SampleArrays],
) -> None:
    patches = make_patches()
    digests = []
    for change in (None, "validation", "train"):
        pixels = patches.pixels.copy()
        if change:
            pixels[patches.splits == change] //= 2
        changed = type(patches)(*[pixels if name == "pixels" else getattr(patches, name) for name in patches.__slots__])
        inputs = Inputs(changed, "train", torch.device("cpu"))
        model = initial_model(make_run(), make_training(), 5, inputs, inputs.rows("train"))
        digests.append(state_digest([model.stem]))
    assert digests[0] == digests[1] != digests[2]


def test_state_digest_sees_every_value() -> None:
    model = build("resnet18", 5, 0)
    before = state_digest([model.stem, model.unit2])
    assert before == state_digest([model.stem, model.unit2]) != state_digest([model.unit2, model.stem])
    model.stem.get_buffer("bn1.running_mean")[3] += 1e-6
    assert state_digest([model.stem, model.unit2]) != before
