"""The model card as Markdown."""

import re
from collections.abc import Callable, Iterable, Sequence
from typing import Any

from lesionlens.reporting.answer import QUESTIONS
from lesionlens.reporting.formatting import (
    BACKBONES,
    EXCLUDED,
    METHODS,
    NORMALISATIONS,
    NOTHING,
    SPLITS,
    STRATEGIES,
    term,
    with_interval,
)

SPECIAL = re.compile(r"([\\`*_\[\]<>|])")


def markdown(card: dict[str, Any]) -> str:
    """The card of `content.content` as CommonMark with tables; names from the data are text, never markup."""
    title = f"# Model card: {plain(card['study']['name'])}"
    parts = [title, f"**{card['notice']}**"]
    for heading, write in SECTIONS.items():
        parts += [f"## {heading}", write(card)]
    return "\n\n".join(part for part in parts if part) + "\n"


def plain(value: object) -> str:
    """A value as one line of text without meaning to Markdown; 'not recorded' for None and for nothing."""
    words = " ".join(str(value).split()) if value is not None else ""
    return SPECIAL.sub(r"\\\1", words) or NOTHING


def table(heads: Sequence[str], lines: Iterable[Sequence[object]]) -> str:
    """A table; 'not recorded' where it has no row."""
    written = [f"| {' | '.join(plain(value) for value in line)} |" for line in lines]
    head = [f"| {' | '.join(heads)} |", f"|{'---|' * len(heads)}"]
    return "\n".join([*head, *written]) if written else NOTHING


def _facts(pairs: Iterable[tuple[str, object]]) -> str:
    return "\n".join(f"* {name}: {plain(value)}" for name, value in pairs)


def _model(card: dict[str, Any]) -> str:
    found = card["model"]
    if found is None:
        return NOTHING
    kept, maps = found["checkpoint"] or {}, found["maps"]
    grid = None if maps["rows"] is None else f", {maps['rows']} x {maps['cols']} cells"
    return _facts(
        [
            ("Network", term(found["backbone"], BACKBONES)),
            ("Training", term(found["strategy"], STRATEGIES)),
            ("Batch size", found["batch_size"]),
            ("Learning rates", f"{found['head_rate']} (head), {found['unit1_rate']} (unit1)"),
            ("Guidance by annotations", found["guidance"]),
            ("Seeds", found["seeds"]),
            ("Pretrained weights", found["pretrained_weights"]),
            ("Input statistics", term(found["normalisation"], NORMALISATIONS)),
            ("Run", f"{found['run']} of the record, seed {found['seed']}"),
            ("Weights, SHA-256", kept.get("sha256")),
            ("Maps", maps["method"] and term(maps["method"], METHODS) + (grid or "")),
        ]
    )


def _data(card: dict[str, Any]) -> str:
    found = card["data"]
    heads = ("", "Patients", "Images", "Lesions", "Samples")
    names = ("patients", "images", "lesions", "samples")
    lines = [("listed in the data set", *(row[name] for name in names[:3]), "–") for row in found["listed"]]
    lines += [
        (f"excluded: {term(row['reason'], EXCLUDED)}", *(row[name] for name in names[:3]), "–")
        for row in found["excluded"]
    ]
    lines += [(term(row["split"], SPLITS), *(row[name] for name in names)) for row in found["included"]]
    classes = [(row["code"], row["label"], row["train"], row["validation"], row["test"])
               for row in found["samples_by_class"]]  # fmt: skip
    uses = found["test_split"]
    times = uses and f"runs evaluated on it in this record: {uses['runs']}, of studies: {uses['studies']}"
    facts = _facts(
        [
            ("Name", found["name"]),
            ("Layout", term(found["layout"], {})),
            ("Digest", found["digest"]),
            ("Digest of the samples", found["sample_set_digest"]),
            ("Test split", times),
        ]
    )
    by_class = table(("Class", "Name", "Training", "Validation", "Test"), classes)
    return f"{facts}\n\n{table(heads, lines)}\n\nSamples by class:\n\n{by_class}"


def _training(card: dict[str, Any]) -> str:
    return _facts((term(name, {}), value) for name, value in _flat(card["training"]))


def _flat(value: Any, name: str = "") -> Iterable[tuple[str, object]]:
    """Nested options as (dotted name, value)."""
    if isinstance(value, dict):
        for key, inner in value.items():
            yield from _flat(inner, f"{name}.{key}" if name else key)
    elif isinstance(value, list):
        items = (", ".join(f"{key} {inner}".strip() for key, inner in _flat(item)) for item in value)
        yield name, "; ".join(items)
    else:
        yield name, ("yes" if value else "no") if isinstance(value, bool) else value


def _answers(card: dict[str, Any]) -> str:
    lines = [
        (term(row["question"], QUESTIONS), row["group_name"] or "all lesions", row["verdict"],
         with_interval(row["number"], row["low"], row["high"]), row["n"], row["n_patients"], row["sentence"])
        for row in card["answers"]
    ]  # fmt: skip
    return table(("Question", "Lesions", "Answer", f"Number ({card['intervals']})", "n", "Patients", "In words"), lines)


def _gates(card: dict[str, Any]) -> str:
    lines = [
        (row["question"], row["group_name"] or "all lesions", ", ".join(row["failed"]) or "none")
        for row in card["gates"]
    ]
    return table(("Question", "Lesions", "Failed (docs/report.md explains each code)"), lines)


def _scores(card: dict[str, Any]) -> str:
    return table(
        ("Score", "Of", f"Value ({card['intervals']})", "n"),
        ((term(row["score"], {}), row["of"], with_interval(row["value"], row["low"], row["high"]), row["n"])
         for row in card["scores"]),
    )  # fmt: skip


def _subgroups(card: dict[str, Any]) -> str:
    return table(
        ("Subgroup", "Level", "Score", f"Value ({card['intervals']})", "n"),
        ((term(row["subgroup"], {}), row["level"], row["score"],
          with_interval(row["value"], row["low"], row["high"]), row["n"]) for row in card["subgroups"]),
    )  # fmt: skip


def _checklist(card: dict[str, Any]) -> str:
    lines = ((row["claim"] or "–", row["tripod"] or "–", row["title"], row["value"]) for row in card["checklist"])
    return table(("CLAIM 2024", "TRIPOD+AI", "Item", "Recorded"), lines)


def _limits(card: dict[str, Any]) -> str:
    return "\n".join(f"* **{plain(row['title'])}.** {plain(row['text'])}" for row in card["limits"]) or "none recorded"


SECTIONS: dict[str, Callable[[dict[str, Any]], str]] = {
    "Intended use": lambda card: plain(card["intended_use"]),
    "Limits": _limits,
    "Answer": _answers,
    "Gates that failed": _gates,
    "Model": _model,
    "Classes": lambda card: table(
        ("Code", "Name", "Group", "Lesion"),
        ((row["code"], row["name"], row["group_name"], "yes" if row["is_lesion"] else "no") for row in card["classes"]),
    ),
    "Data": _data,
    "Training": _training,
    "Scores": _scores,
    "Subgroups": _subgroups,
    "Checklist": _checklist,
    "Licences": lambda card: "\n".join(f"* {plain(line)}" for line in card["licences"]),
    "Provenance": lambda card: _facts(
        [("Study", f"{card['study']['name']}, number {card['study']['id']}"), ("Digest", card["study"]["digest"]),
         ("Entered", card["study"]["entered"]), *(card["versions"] or {}).items()]
    ),
}  # fmt: skip
"""How each section is written, in their order on the card."""
