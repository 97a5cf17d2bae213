"""One Chromium for all tests of a worker, and every page rendered once."""

import dataclasses
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from playwright.sync_api import sync_playwright

from lesionlens.reporting.compare import render_comparison
from lesionlens.reporting.page import render
from tests.report_data import build

CHROMIUM = Path(os.environ.get("LESIONLENS_CHROMIUM", "/usr/bin/chromium"))
PATIENCE = 60
FLAGS = ["--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage"]


@pytest.fixture(scope="session")
def browser():
    """A Chromium; skipped where there is none, except in CI."""
    if not CHROMIUM.exists():
        message = f"no Chromium at {CHROMIUM}: install it, or set LESIONLENS_CHROMIUM"
        if os.environ.get("CI"):
            pytest.fail(message)
        pytest.skip(message)
    with sync_playwright() as playwright:
        started = playwright.chromium.launch(executable_path=str(CHROMIUM), args=FLAGS)
        yield started
        started.close()


@pytest.fixture(scope="session")
def data():
    """Four finished runs on sixty patches."""
    return build()


@pytest.fixture(scope="session")
def addresses(data, tmp_path_factory) -> dict[str, str]:
    """Addresses of the pages: a report, one without runs, and a comparison with another study."""
    other = build(runs=(("resnet18", "gradual"),), seed=2)
    other = dataclasses.replace(other, study=other.study | {"id": 2, "name": "other"})
    pages = {
        "report": render(data).page,
        "empty": render(build(runs=())).page,
        "compare": render_comparison((data, other)).page,
    }
    folder = tmp_path_factory.mktemp("pages")
    for name, html in pages.items():
        (folder / f"{name}.html").write_text(html, encoding="utf-8")
    return {name: (folder / f"{name}.html").as_uri() for name in pages}


def holds(page, expression: str, argument=None) -> None:
    """Waits until an expression is true on the page, asked from outside: a page that allows no `eval` cannot poll."""
    end = time.monotonic() + PATIENCE
    while not page.evaluate(expression, argument):
        assert time.monotonic() < end, f"not within {PATIENCE} s: {expression}, {argument}; at {page.url}"
        page.wait_for_timeout(50)


@contextmanager
def watched(browser, address, **options) -> Iterator:
    """The page at `address`; fails at its end on any console message, page error or request beyond the file."""
    context = browser.new_context(**{"viewport": {"width": 1200, "height": 900}, "reduced_motion": "reduce"} | options)
    opened = context.new_page()
    trouble = []
    opened.on("console", lambda message: trouble.append(message.text))
    opened.on("pageerror", lambda error: trouble.append(str(error)))
    opened.on("request", lambda request: trouble.append(request.url) if not request.url.startswith(address) and not
              request.url.startswith("data:") else None)  # fmt: skip
    opened.goto(address)
    yield opened
    context.close()
    assert trouble == []
