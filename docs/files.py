"""Writes docs/files.md: every module with the first sentence of its docstring, then the files beside the code."""

import ast
import subprocess
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
FOLDERS = {
    "flows": "What people run",
    "tasks": "Units of work",
    "db": "The record",
    "src/lesionlens/data": "Patches",
    "src/lesionlens/training": "Training",
    "src/lesionlens/evaluation": "Evaluation",
    "src/lesionlens/reporting": "Reporting",
    "src/lesionlens": "Shared",
    "benchmarks": "Measurements",
}
BESIDE = {
    "Makefile": "What people run.",
    "prefect.yaml": "Deployments of every flow.",
    "pyproject.toml": "Dependencies by range, tools.",
    "requirements.lock": "Exact versions, used as constraints.",
    "migrations/": "Schema and views, step by step.",
    "templates/": "HTML, CSS and JavaScript of the report; they compute nothing.",
    "tests/": "Mirror the source; `tests/e2e` runs whole studies.",
    "docs/": "The record, orchestration, this list (`docs/files.py` writes it).",
    ".ci/run": "From a clean clone to a verdict.",
    "CONTRIBUTING.md": "The layers and the rules.",
    "CHANGELOG.md": "What changed.",
    "LICENSE": "Apache-2.0.",
}


def modules(folder: str) -> list[Path]:
    """Tracked modules directly in a folder, package markers left out."""
    listed = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard", folder],
        cwd=ROOT, capture_output=True, text=True, check=True,
    )  # fmt: skip
    paths = sorted({Path(line) for line in listed.stdout.splitlines()})
    return [p for p in paths if p.parent == Path(folder) and p.suffix == ".py" and p.name != "__init__.py"]


def first_paragraph(path: Path) -> str:
    """The first paragraph of a module's docstring, on one line.

    Raises:
        ValueError: the module has no docstring.
    """
    docstring = ast.get_docstring(ast.parse((ROOT / path).read_text()))
    if not docstring:
        raise ValueError(f"{path} has no docstring: say in one sentence what it holds")
    return " ".join(docstring.split("\n\n")[0].split())


def page() -> str:
    """docs/files.md as it should be."""
    lines = ["# Files", ""]
    for folder, title in FOLDERS.items():
        found = modules(folder)
        if found:
            lines += [f"## {title} (`{folder}/`)", ""]
            lines += [f"* `{path}` {first_paragraph(path)}" for path in found] + [""]
    lines += ["## Beside the code", ""]
    lines += [f"* `{path}` {text}" for path, text in BESIDE.items()]
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    (ROOT / "docs/files.md").write_text(page())
