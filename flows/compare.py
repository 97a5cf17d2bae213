"""Several studies on one page."""

from pathlib import Path

from prefect import flow
from pydantic import Field

from tasks.report import render_comparison


@flow(name="compare", flow_run_name="compare {studies}")
def compare(
    studies: tuple[str, ...] = Field(min_length=1, description="Studies by number or name"),
    runs: tuple[int, ...] = Field((), description="Show only these runs; empty for each study's selected ones"),
) -> Path:
    """Render studies side by side. Returns where the page lies."""
    return render_comparison(studies, runs)
