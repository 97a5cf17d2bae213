"""What is made of studies of the record: comparison, model card."""

from typing import Annotated

from cyclopts import Parameter

from commands.services import run_flow


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
    if dry_run:
        from db.engine import make_engine
        from db.studies import find_study, studies_of_runs

        with make_engine().connect() as connection:
            numbers = [find_study(connection, name) for name in studies] or studies_of_runs(connection, runs)
        print(f"Studies {', '.join(map(str, numbers))} would be compared on one page.")
        return
    print(f"\nComparison: {run_flow('flows.steps', 'compare', studies, runs)}")


def card(study: str, /, *, dry_run: bool = False) -> None:
    """Write the model card of a study, as Markdown and JSON.

    Args:
        study: A study's number or name (lesionlens list).
        dry_run: Say what would be written, and write nothing.
    """
    if dry_run:
        from lesionlens.settings import home

        print(f"card.md and card.json would be written beside the page of study {study} in {home().reports}.")
        return
    path = run_flow("flows.steps", "card", study)
    print(f"\nModel card: {path}\nAs JSON:    {path.with_suffix('.json')}")
