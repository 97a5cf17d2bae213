"""Studies of the record: listed, deleted, compared, described."""

import os
import shutil
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from cyclopts import Parameter

from commands.services import run_flow, say

if TYPE_CHECKING:
    from db.queries.catalogue import Freed


def list_(study: str | None = None, /) -> None:
    """The studies of the record, or the runs of one.

    With progress, size on disk and answer.

    For example:

        lesionlens list
        lesionlens list demo

    Args:
        study: A study's number or name: its runs are listed.
    """
    from db.engine import make_engine
    from db.queries import catalogue
    from db.studies import find_study

    with make_engine().connect() as connection:
        if study is None:
            rows = catalogue.studies(connection).to_dicts()
        else:
            rows = catalogue.runs(connection, find_study(connection, study)).to_dicts()
    if not rows:
        print("The record holds no study yet. To make one: lesionlens demo")
    elif study is None:
        _table(
            ["no.", "study", "data", "made", "runs", "weights", "samples", "answer"], [_study_row(row) for row in rows]
        )
    else:
        _table(["no.", "run", "state", "epoch", "accuracy (95 % CI)", "weights"], [_run_row(row) for row in rows])


def _study_row(row: dict[str, Any]) -> list[str]:
    failed = f", {row['failed']} failed" if row["failed"] else ""
    return [
        str(row["study_id"]), row["study"], row["dataset"], f"{row['created_at']:%Y-%m-%d}",
        f"{row['evaluated']}/{row['runs']}{failed}", _megabytes(row["weight_bytes"]), _megabytes(row["sample_bytes"]),
        row["verdict"] or "",
    ]  # fmt: skip


def _run_row(row: dict[str, Any]) -> list[str]:
    known = row["accuracy"] is not None
    accuracy = f"{row['accuracy']:.2f} ({row['low']:.2f} to {row['high']:.2f})" if known else ""
    epoch = "" if row["best_epoch"] is None else str(row["best_epoch"])
    return [str(row["run_id"]), row["title"], row["status"], epoch, accuracy, _megabytes(row["weight_bytes"])]


def _megabytes(size: Any) -> str:
    return f"{int(size or 0) / 1e6:,.0f} MB"


def _table(heading: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    from rich.box import SIMPLE_HEAD
    from rich.console import Console
    from rich.table import Column, Table

    table = Table(*(Column(title, overflow="fold") for title in heading), box=SIMPLE_HEAD, pad_edge=False)
    for row in rows:
        table.add_row(*row)
    Console(highlight=False, markup=False, width=None if sys.stdout.isatty() or "COLUMNS" in os.environ else 200).print(
        table
    )


def delete(study: str, /, *, yes: bool = False, dry_run: bool = False) -> None:
    """Delete a study, and what no other study uses.

    Says what that frees, and asks. Runs and samples that another study has stay, with their weights.

    For example:

        lesionlens delete 3
        lesionlens delete "old films" --yes

    Args:
        study: A study's number or name (lesionlens list).
        yes: Do not ask.
        dry_run: Say what would go, and delete nothing.
    """
    from db.engine import make_engine
    from db.locks import held
    from db.queries import catalogue
    from db.studies import find_study

    engine = make_engine()
    with engine.connect() as connection:
        gone = catalogue.freed(connection, find_study(connection, study))
        busy = [name for number, _, _ in gone.runs for name in (f"run {number}", f"evaluation of run {number}")]
        if any(held(connection, busy)):
            raise ValueError(f"study {gone.study_id} is being worked on: end that first (Ctrl-C, or cancel it)")
    _say_freed(gone)
    if dry_run:
        return
    if not yes:
        if not sys.stdin.isatty():
            raise ValueError("this needs a yes: run it in a terminal, or with --yes")
        if input("Delete? [y/N] ").strip().lower() not in ("y", "yes"):
            print("Nothing was deleted.")
            return
    with engine.begin() as connection:
        if catalogue.freed(connection, gone.study_id) != gone:
            raise ValueError("the record has changed meanwhile: run this again")
        catalogue.remove(connection, gone)
    _remove_files(gone)
    print(f"Study {gone.study_id} is deleted.")


def _say_freed(gone: "Freed") -> None:
    pages = "1 page" if len(gone.pages) == 1 else f"{len(gone.pages)} pages"
    print(f"Study {gone.study_id} ({gone.name}) goes, with its scores, maps and {pages}.")
    weights = f"{gone.weight_bytes / 1e6:,.0f} MB of weights"
    print(f"  runs     {len(gone.runs)} go, {weights}; {gone.shared_runs} stay for other studies")
    print(f"  samples  {gone.samples} go" if gone.sample_set else "  samples  stay for other studies")


def _remove_files(gone: "Freed") -> None:
    """Weights and pages, once the record has forgotten them."""
    from lesionlens.settings import home
    from lesionlens.training.checkpoints import checkpoint_folder, keep_only

    for _, digest, _ in gone.runs:
        folder = checkpoint_folder(home().checkpoints, digest)
        if folder.exists():
            keep_only(folder, ())
            folder.rmdir()
    for page in map(Path, gone.pages):
        if page.parent == home().reports:  # another machine's page lies elsewhere
            page.unlink(missing_ok=True)
            shutil.rmtree(page.with_suffix(""), ignore_errors=True)


def compare(
    *studies: str, runs: Annotated[tuple[int, ...], Parameter(consume_multiple=True)] = (), dry_run: bool = False
) -> None:
    """Several studies on one page, or single runs of any studies.

    For example:

        lesionlens compare demo 2
        lesionlens compare --runs 3 7

    Args:
        studies: Numbers or names (lesionlens list).
        runs: Show only these runs, of any study.
        dry_run: Say what would be compared, and write nothing.
    """
    if not studies and not runs:
        raise ValueError("name at least one study, or runs of any (--runs 3 7), to compare")
    from db.engine import make_engine
    from db.studies import find_study, studies_of_runs

    say("Looking at the record ...")
    with make_engine().connect() as connection:  # an unknown name is told before Prefect starts
        numbers = [find_study(connection, name) for name in studies] or studies_of_runs(connection, runs)
    if dry_run:
        print(f"Studies {', '.join(map(str, numbers))} would be compared on one page.")
        return
    print(f"\nComparison: {run_flow('flows.steps', 'compare', studies, runs)}")


def card(study: str, /, *, dry_run: bool = False) -> None:
    """Write the model card of a study, as Markdown and JSON.

    Args:
        study: A study's number or name (lesionlens list).
        dry_run: Say what would be written, and write nothing.
    """
    from db.engine import make_engine
    from db.studies import find_study
    from lesionlens.settings import home

    say("Looking at the record ...")
    with make_engine().connect() as connection:
        number = find_study(connection, study)
    if dry_run:
        print(f"card.md and card.json would be written beside the page of study {number} in {home().reports}.")
        return
    path = run_flow("flows.steps", "card", study)
    print(f"\nModel card: {path}\nAs JSON:    {path.with_suffix('.json')}")
