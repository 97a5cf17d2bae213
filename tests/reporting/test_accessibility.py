"""axe-core finds nothing serious on a page, in light and dark, with everything on it opened."""

import json
import os
import shutil
import subprocess
from pathlib import Path

import platformdirs
import pytest

from lesionlens.reporting.compare import render_comparison
from lesionlens.reporting.page import render

PACKAGES = Path(__file__).resolve().parents[1] / "package.json"

pytestmark = pytest.mark.browser


@pytest.fixture(scope="module")
def axe():
    """The source of axe-core at the version of tests/package.json, installed once into a cache folder."""
    version = json.loads(PACKAGES.read_text())["dependencies"]["axe-core"]
    folder = platformdirs.user_cache_path("lesionlens-tests") / f"axe-core-{version}"
    script = folder / "node_modules/axe-core/axe.min.js"
    if not script.exists():
        folder.mkdir(parents=True, exist_ok=True)
        shutil.copy(PACKAGES, folder)
        command = ["npm", "install", "--ignore-scripts", "--no-audit", "--no-fund", "--prefix", str(folder)]
        try:
            subprocess.run(command, check=True, capture_output=True, text=True, timeout=300, cwd=folder)
        except (OSError, subprocess.SubprocessError) as error:
            message = f"axe-core {version} could not be installed by npm: {getattr(error, 'stderr', '') or error}"
            pytest.fail(message) if os.environ.get("CI") else pytest.skip(message)
    return script.read_text()


@pytest.fixture(scope="module")
def addresses(data, make_data, tmp_path_factory):
    folder = tmp_path_factory.mktemp("pages")
    pages = {
        "report": render(data).page,
        "empty": render(make_data(runs=())).page,
        "compare": render_comparison([data, make_data(seed=1)]).page,
    }
    for name, html in pages.items():
        (folder / f"{name}.html").write_text(html, encoding="utf-8")
    return {name: (folder / f"{name}.html").as_uri() for name in pages}


def serious(page, axe):
    """Serious and critical violations as readable lines."""
    page.evaluate(axe)
    found = page.evaluate("axe.run(document, { resultTypes: ['violations'] })")["violations"]
    return [
        f"{v['impact']} {v['id']} at {node['target']}: {node['failureSummary']}"
        for v in found
        if v["impact"] in ("serious", "critical")
        for node in v["nodes"]
    ]


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("name", ["report", "empty", "compare"])
def test_nothing_serious(browser, axe, addresses, name, scheme):
    page = browser.new_page(color_scheme=scheme)
    page.goto(addresses[name])
    page.evaluate("for (const node of document.querySelectorAll('details')) node.open = true")
    page.evaluate("for (const node of document.querySelectorAll('.confusion td')) node.style.setProperty('--share', 1)")
    assert serious(page, axe) == []
    page.close()


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_nothing_serious_beside_an_open_sample(browser, axe, addresses, scheme):
    page = browser.new_page(color_scheme=scheme)
    page.goto(addresses["report"] + "#sample=case_102%3ABM")
    page.wait_for_selector("#viewer[open]")
    assert serious(page, axe) == []
    page.close()


def test_what_axe_is_here_to_find_is_found(browser, axe):
    page = browser.new_page()
    page.set_content("<html lang=en><title>x</title><main><h1>x</h1><button></button><p style='color:#ccc'>pale</p>")
    assert {line.split()[1] for line in serious(page, axe)} == {"button-name", "color-contrast"}
    page.close()
