"""What prefect.yaml needs: its parameters, equal to the presets (python -m flows.deployments), and its pull step."""

import json
import os
import re
import textwrap
from pathlib import Path

from lesionlens.presets import preset

FILE = Path(__file__).resolve().parents[1] / "prefect.yaml"
DATA = Path("{{ $LESIONLENS_DATA }}")
BLOCK = re.compile(
    r"(?P<head>^ *# preset (?P<name>\w+)\n)(?P<indent> *)parameters:\n.*?\n(?P<foot> *# end of preset\n)", re.M | re.S
)

POINTLESS = re.compile(r"(?<=: )-?\d+(?=e[-+]\d+,?$)", re.M)
"""A number such as 3e-05, which YAML takes for a string unless it has a point."""


def go_to_source() -> dict[str, str]:
    """The pull step of every deployment: work in the folder of the source, wherever it lies on this machine."""
    os.chdir(FILE.parent)
    return {"directory": str(FILE.parent)}


def current(text: str) -> str:
    """The text of prefect.yaml with the parameters between its preset marks written anew (JSON is YAML)."""
    return BLOCK.sub(_block, text)


def _block(match: re.Match[str]) -> str:
    config = preset(match["name"], DATA).model_dump(mode="json")
    text = POINTLESS.sub(r"\g<0>.0", json.dumps({"config": config}, indent=2))
    body = textwrap.indent(text, match["indent"] + "  ")
    return f"{match['head']}{match['indent']}parameters:\n{body}\n{match['foot']}"


if __name__ == "__main__":
    FILE.write_text(current(FILE.read_text()))
