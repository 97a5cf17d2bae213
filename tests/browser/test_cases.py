"""This looks like that: a test patch leads to the cases that it looks like, and a case to its test patches."""

import dataclasses
from pathlib import Path

import polars as pl
import pytest

from lesionlens.records import ReportData
from lesionlens.reporting.page import render
from tests.report_data import rare

from .conftest import holds

NAMES = ("activation_precisions", "black_boxes", "prototypes", "explained_inside", "cases")


@pytest.fixture(scope="module")
def path(data: ReportData, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A page whose first model has one prototype, of which every third test patch has most points."""
    keys = data.frames["sample_results"].filter(run_id=1)["sample_key"]
    matches = pl.DataFrame({"sample_key": keys.gather_every(3)}).join(
        rare("prototype_matches").drop("sample_key"), how="cross"
    )
    frames = data.frames | {name: rare(name) for name in NAMES} | {"prototype_matches": matches}
    made = tmp_path_factory.mktemp("cases") / "page.html"
    made.write_text(render(dataclasses.replace(data, frames=frames)).page)
    return made


def test_a_patch_leads_to_its_cases_and_a_case_to_its_patches_by_keyboard(
    browser, data: ReportData, path: Path
) -> None:  # type: ignore[no-untyped-def]
    key = data.frames["sample_results"].filter(run_id=1)["sample_key"][0]
    page = browser.new_page(reduced_motion="reduce")
    page.goto(f"{path.as_uri()}#sample={key}")
    page.wait_for_selector("#viewer-cases .place")
    assert page.locator("#viewer-cases .place").count() == 2
    said = page.locator("#viewer-cases").inner_text()
    assert "similarity 4.20 × weight" in said and "Prototype 1" in said
    assert page.locator("#viewer-cases .sums div").count() == data.frames["labels"].height
    page.locator("#viewer-cases a").first.focus()
    page.keyboard.press("Enter")
    holds(page, "document.activeElement.id === 'prototype-1-1'")
    assert not page.evaluate("document.getElementById('viewer').open")
    page.locator("#prototype-1-1 a").focus()
    page.keyboard.press("Enter")
    holds(page, "location.hash.includes('prototype=1')")
    every = data.frames["sample_results"].filter(run_id=1).height
    holds(page, f"document.getElementById('found').textContent.startsWith('{-(-every // 3)} of')")
    page.goto(f"{path.as_uri()}#prototype-1-1")
    page.reload()
    holds(page, "document.activeElement.id === 'prototype-1-1'")
    ids = page.evaluate("[...document.querySelectorAll('[id]')].map((e) => e.id)")
    assert len(ids) == len(set(ids))
    page.close()
