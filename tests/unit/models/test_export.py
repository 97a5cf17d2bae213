"""An exported network gives the same logits where there is no lesionlens: plain torchvision, ONNX's own runtime."""

import subprocess
import sys
from pathlib import Path
from typing import get_args

import numpy as np
import pytest
import safetensors.torch
import torch

from lesionlens.config.training import Backbone, PrototypeConfig
from lesionlens.models.backbones import build
from lesionlens.models.export import loading, torchvision_state, write_onnx
from lesionlens.models.prototypes import with_prototypes

SIZE = 64


def run_bare(lines: list[str], folder: Path) -> np.ndarray:
    """Logits that a program without lesionlens computes from `x`; it saves them as out.npy."""
    program = [
        "import sys, numpy as np", "x = np.load('x.npy')", *lines, "np.save('out.npy', out)",
        "assert not [m for m in sys.modules if m.split('.')[0] in ('lesionlens', 'db', 'tasks', 'flows', 'commands')]",
    ]  # fmt: skip
    done = subprocess.run([sys.executable, "-I", "-c", "\n".join(program)], cwd=folder, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    found: np.ndarray = np.load(folder / "out.npy")
    return found


def inputs(folder: Path) -> torch.Tensor:
    pixels = torch.randn(3, 3, SIZE, SIZE, generator=torch.Generator().manual_seed(0))
    np.save(folder / "x.npy", pixels.numpy())
    return pixels


@pytest.mark.parametrize("backbone", get_args(Backbone))
def test_every_weight_has_torchvisions_name(backbone: Backbone) -> None:
    model = build(backbone, 5, 0)
    state = torchvision_state(model)
    assert len(state) == len(model.state_dict())
    wrong = [name for name in state if name.startswith(("stem", "unit", "head"))]
    assert not wrong and sum(tensor.numel() for tensor in state.values()) == sum(
        tensor.numel() for tensor in model.state_dict().values()
    )


@pytest.mark.parametrize("backbone", ["vgg11_bn", "resnet18", "efficientnet_b0"])
def test_plain_torchvision_gives_the_same_logits(backbone: Backbone, tmp_path: Path) -> None:
    model = build(backbone, 4, 1)
    safetensors.torch.save_file(torchvision_state(model), tmp_path / "weights.safetensors")
    expected = model.logits(inputs(tmp_path)).detach().numpy()
    lines = [*loading(model), "out = net(torch.from_numpy(x)).detach().numpy()"]
    found = run_bare(lines, tmp_path)
    assert found.shape == (3, 4)
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-6)
    other = build(backbone, 4, 2)  # the comparison sees another network
    assert np.abs(other.logits(inputs(tmp_path)).detach().numpy() - expected).max() > 1e-3


@pytest.mark.slow
def test_onnx_runtime_gives_the_same_logits_for_any_number_of_samples(tmp_path: Path) -> None:
    pytest.importorskip("onnxruntime")
    pytest.importorskip("onnxscript")
    model = build("resnet18", 4, 1)
    expected = model.logits(inputs(tmp_path)).detach().numpy()
    write_onnx(model, tmp_path / "model.onnx", SIZE)
    lines = ["import onnxruntime", "session = onnxruntime.InferenceSession('model.onnx')",
             "out = session.run(['logits'], {'pixels': x})[0]"]  # fmt: skip
    np.testing.assert_allclose(run_bare(lines, tmp_path), expected, rtol=1e-4, atol=1e-5)


def test_prototypes_are_refused_with_what_to_do_instead() -> None:
    model = with_prototypes(build("resnet18", 3, seed=0), 3, PrototypeConfig(per_class=1, channels=2), 0)
    with pytest.raises(ValueError, match=r"no counterpart in torchvision: open it in Python with lesionlens.load_run"):
        torchvision_state(model)


def test_a_missing_exporter_is_told_with_its_remedy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "onnx", None)
    with pytest.raises(ImportError, match=r"pip install 'lesionlens\[onnx\]'"):
        write_onnx(build("resnet18", 2, 0), tmp_path / "model.onnx", SIZE)
    assert not (tmp_path / "model.onnx").exists()
