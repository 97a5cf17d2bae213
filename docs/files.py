"""Writes the rooms of docs/architecture.md: every folder, every module with the first sentence of its docstring."""

import ast
import subprocess
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
PAGE = ROOT / "docs/architecture.md"
BEGIN, END = "<!-- files: written by `make docs` -->\n", "<!-- end of files -->\n"
FOLDERS = ("commands", "flows", "tasks", "db", "src/lesionlens", "benchmarks")


def modules() -> dict[Path, list[Path]]:
    """Python modules by folder, folders in the order of `FOLDERS`, each followed by those below it."""
    listed = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard", *FOLDERS],
        cwd=ROOT, capture_output=True, text=True, check=True,
    )  # fmt: skip
    paths = sorted({Path(line) for line in listed.stdout.splitlines() if line.endswith(".py")})
    found: dict[Path, list[Path]] = {}
    for top in FOLDERS:
        for path in sorted((p for p in paths if p.is_relative_to(top)), key=lambda p: (p.parent, p.name)):
            if (ROOT / path).exists():
                found.setdefault(path.parent, []).append(path)
    return found


def first_paragraph(path: Path) -> str:
    """The first paragraph of a module's docstring, on one line. ValueError where it has none."""
    docstring = ast.get_docstring(ast.parse((ROOT / path).read_text()))
    if not docstring:
        raise ValueError(f"{path} has no docstring: say in one sentence what it holds")
    return " ".join(docstring.split("\n\n")[0].split())


def listing() -> str:
    """One line a module, under its folder."""
    lines = []
    for folder, paths in modules().items():
        markers = [p for p in paths if p.name == "__init__.py"]
        title = first_paragraph(markers[0]) if markers and (ROOT / markers[0]).read_text().strip() else ""
        lines += ["", f"**`{folder}/`** {title}".rstrip(), ""]
        lines += [f"* `{path.name}`: {first_paragraph(path)}" for path in paths if path.name != "__init__.py"]
    return "\n".join([*lines, "", ""])


def page(text: str) -> str:
    """The document with its list of files as it should be. ValueError where the markers are missing."""
    before, begin, rest = text.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not begin or not end:
        raise ValueError(f"docs/architecture.md lacks the markers {BEGIN.strip()} and {END.strip()}")
    return before + begin + listing() + end + after


if __name__ == "__main__":
    PAGE.write_text(page(PAGE.read_text()))
