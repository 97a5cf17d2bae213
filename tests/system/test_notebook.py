"""The notebook's code cells, in their order: a network that has learnt nothing gets no yes."""

import json
from pathlib import Path

import pytest

NOTEBOOK = Path(__file__).resolve().parents[2] / "docs/examine.ipynb"


@pytest.mark.slow
def test_an_untrained_network_gets_no_yes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    notebook = json.loads(NOTEBOOK.read_text())
    assert notebook["nbformat"] == 4 and all(cell["outputs"] == [] for cell in code(notebook))
    names: dict[str, object] = {}
    for cell in code(notebook):
        exec(compile("".join(cell["source"]), str(NOTEBOOK), "exec"), names)
    found = names["found"]
    assert found.answers.height and not {"yes", "partly"} & set(found.answers["verdict"])  # type: ignore[attr-defined]
    assert found.report.is_relative_to(tmp_path / "examination")  # type: ignore[attr-defined]


def code(notebook: dict) -> list[dict]:
    return [cell for cell in notebook["cells"] if cell["cell_type"] == "code"]
