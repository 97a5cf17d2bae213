"""axe-core finds nothing serious on a page, in light and dark, with everything on it opened."""

import json
import os
import shutil
import subprocess
from pathlib import Path

import platformdirs
import pytest

PACKAGES = Path(__file__).with_name("package.json")

pytestmark = pytest.mark.browser


@pytest.fixture(scope="module")
def axe():
    """The source of axe-core at the version of package.json, installed once into a cache folder."""
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


@pytest.fixture
def page(browser):
    opened = browser.new_page()
    yield opened
    opened.close()


def serious(page, axe, rules=()):
    """Serious and critical violations as readable lines; of `rules` only, if any are named."""
    page.evaluate(axe)
    options = {"resultTypes": ["violations"]} | ({"runOnly": list(rules)} if rules else {})
    found = page.evaluate("options => axe.run(document, options)", options)["violations"]
    return [
        f"{v['impact']} {v['id']} at {node['target']}: {node['failureSummary']}"
        for v in found
        if v["impact"] in ("serious", "critical")
        for node in v["nodes"]
    ]


@pytest.mark.parametrize("name", ["report", "empty", "compare"])
def test_nothing_serious_in_light_and_dark(page, axe, addresses, name):
    """In the dark only colours differ, so only their contrast is tested again."""
    page.goto(addresses[name])
    page.evaluate("for (const node of document.querySelectorAll('details')) node.open = true")
    page.evaluate("for (const node of document.querySelectorAll('.confusion td')) node.style.setProperty('--shade', 1)")
    assert serious(page, axe) == []
    page.emulate_media(color_scheme="dark")
    assert serious(page, axe, ["color-contrast"]) == []


def test_nothing_serious_beside_an_open_sample(page, axe, addresses):
    page.goto(addresses["report"] + "#sample=case_102%3ABM")
    page.wait_for_selector("#viewer[open]")
    assert serious(page, axe) == []
    page.emulate_media(color_scheme="dark")
    assert serious(page, axe, ["color-contrast"]) == []


def test_what_axe_is_here_to_find_is_found(page, axe):
    page.set_content("<html lang=en><title>x</title><main><h1>x</h1><button></button><p style='color:#ccc'>pale</p>")
    assert {line.split()[1] for line in serious(page, axe)} == {"button-name", "color-contrast"}
