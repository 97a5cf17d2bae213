"""Several studies, or runs of any, on one page."""

from pathlib import Path

from prefect import flow
from prefect.runtime import flow_run
from pydantic import Field

from tasks.publish import publish_comparison
from tasks.report import find_studies, render_comparison


def _name() -> str:
    named = flow_run.parameters
    runs = [f"run {run}" for run in named.get("runs") or ()]
    return " ".join(["compare", ", ".join([*map(str, named.get("studies") or ()), *runs])])


@flow(name="compare", flow_run_name=_name)
def compare(
    studies: tuple[str, ...] = Field((), description="Studies by number or name; empty for those of the runs"),
    runs: tuple[int, ...] = Field((), description="Show only these runs; empty for each study's selected ones"),
) -> Path:
    """Render studies, or runs of any studies, side by side, and show the verdict. Returns where the page lies."""
    numbers = find_studies(studies, runs)
    page, number = render_comparison(numbers, runs)
    publish_comparison(numbers, runs, number)
    return page
