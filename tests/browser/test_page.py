"""The page in a real Chromium, opened from disk."""

import itertools

import numpy as np
import polars as pl
import pytest

from lesionlens.attribution.scaling import activation_maps

from .conftest import holds, watched

pytestmark = pytest.mark.browser


@pytest.fixture
def page(browser, addresses):
    """An open report, watched."""
    with watched(browser, addresses["report"]) as opened:
        yield opened


@pytest.fixture(scope="module")
def seen(browser, addresses):
    """An open report for tests that only look at it."""
    with watched(browser, addresses["report"]) as opened:
        yield opened


def cards(page):
    return page.locator("#cards > li")


def scores(page):
    texts = page.locator("#cards .pair span:first-child").all_text_contents()
    return [None if "–" in text else float(text.removeprefix("IoU ")) for text in texts]


def test_filters_narrow_and_reset(page):
    assert page.locator("#found").inner_text() == "60 of 60 patches"
    page.select_option("[name=code]", "BM")
    assert page.locator("#found").inner_text() == "12 of 60 patches"
    page.select_option("[name=correct]", "no")
    wrong = cards(page).count()
    assert 0 < wrong < 12
    assert page.locator("#cards .wrong").count() == wrong
    page.press("button[type=reset]", "Enter")
    holds(page, "document.getElementById('found').textContent.startsWith('60')")


def test_iou_range_and_located(page):
    page.fill("[name=low]", "0.4")
    page.press("[name=low]", "Tab")
    assert scores(page) and all(value >= 0.395 for value in scores(page))
    page.select_option("[name=located]", "no")
    assert cards(page).count() == 0  # in this record a map of such an IoU has its maximum in the lesion


def quadrant(data, run, correct, located):
    key = {"run_id": run, "code": "all", "correct": correct, "located": located}
    return data.frames["quadrants"].filter(**key).row(0, named=True)


def test_gallery_lists_the_patches_of_every_quadrant(page, data):
    page.select_option("[name=run]", "2")
    for correct, located in itertools.product((True, False), repeat=2):
        page.select_option("[name=correct]", "yes" if correct else "no")
        page.select_option("[name=located]", "yes" if located else "no")
        expected = quadrant(data, 2, correct, located)["n"]
        assert page.locator("#found").inner_text() == f"{expected} of 60 patches"
    assert quadrant(data, 2, True, True)["n"] > 0


def test_examples_of_a_quadrant_open_and_lead_to_all_of_it(page, data):
    page.select_option("#examples-run", "3")
    elsewhere = page.locator(".examples").nth(1)
    assert elsewhere.locator("a.card").count() == 6
    assert elsewhere.locator(".wrong").count() == 0
    page.locator("#examples h4 a").nth(1).press("Enter")  # cards above it may still grow: a click could miss
    found = quadrant(data, 3, True, False)["n"]
    holds(page, "n => document.getElementById('found').textContent.startsWith(n + ' of')", str(found))
    assert page.locator("[name=run]").input_value() == "3"
    elsewhere.locator("a.card").nth(2).press("Enter")
    page.wait_for_selector("#viewer[open]")
    page.keyboard.press("Escape")
    holds(page, "document.activeElement.closest('.examples') !== null")


def linked(page, address, n):
    """Follows the first link of `address`; the number that it stands for, and what the gallery then shows."""
    place = page.locator(f"a[href*='#gallery?{address}']").first
    place.evaluate(
        "node => { for (let at = node; at; at = at.parentElement) if (at.tagName === 'DETAILS') at.open = true; }"
    )
    place.press("Enter")
    holds(page, "n => document.getElementById('found').textContent.startsWith(n + ' of')", str(n))


def test_numbers_lead_to_their_pictures_and_back(page, data):
    cell = data.frames["confusion_matrix"].filter(pl.col("true_code") != pl.col("predicted_code"), pl.col("count") > 0)
    cell = cell.row(0, named=True)
    linked(page, f"run={cell['run_id']}&code={cell['true_code']}&predicted={cell['predicted_code']}", cell["count"])
    first = page.url
    linked(page, "run=2&correct=yes&located=no", quadrant(data, 2, True, False)["n"])
    page.go_back()
    holds(page, "n => document.getElementById('found').textContent.startsWith(n + ' of')", str(cell["count"]))
    assert page.url == first
    level = data.frames["sample_results"].filter(run_id=1).filter(pl.col("mask_fraction").is_between(0.05, 0.1, "left"))
    linked(page, "run=1&group=mask_fraction%3A0.05+to+0.10", level.height)


def test_the_address_holds_the_filters(page, browser, addresses):
    page.select_option("[name=code]", "BM")
    page.select_option("[name=agree]", "no")
    disagreed = page.locator("#found").inner_text()
    assert 0 < int(disagreed.split()[0]) < 12
    with watched(browser, addresses["report"]) as sent:
        sent.goto(page.url)
        sent.reload()
        assert sent.locator("#found").inner_text() == disagreed
    page.go_back()
    holds(page, "document.getElementById('found').textContent.startsWith('12 of')")
    page.go_back()
    holds(page, "document.getElementById('found').textContent.startsWith('60 of')")


def test_text_and_bounds_act_while_typing(page):
    page.locator("[name=text]").press_sequentially("p_00102")
    assert page.locator("#found").inner_text() == "1 of 60 patches"
    page.fill("[name=text]", "")
    page.locator("[name=low]").press_sequentially(".4")
    assert scores(page) and all(value >= 0.395 for value in scores(page))


def test_show_more_goes_when_all_is_shown(page):
    assert page.locator("#more").is_visible()
    page.press("#more", "Enter")
    assert cards(page).count() == 60 and not page.locator("#more").is_visible()


def test_a_table_sorts_by_keyboard_and_a_section_folds(page):
    head = page.locator("#baselines thead th").nth(1)
    column = page.locator("#baselines tbody tr td:nth-child(2)")
    before = column.all_inner_texts()
    head.locator("button").focus()
    orders = []
    for way in ("ascending", "descending", None):
        page.keyboard.press("Enter")
        assert head.get_attribute("aria-sort") == way
        orders.append([float(text.split()[0]) for text in column.all_inner_texts()])
    assert orders[0] == sorted(orders[0]) and orders[1] == orders[0][::-1] and len(set(orders[0])) > 1
    assert column.all_inner_texts() == before
    fold = page.locator("#gallery > h2 button")
    fold.press("Enter")
    assert fold.get_attribute("aria-expanded") == "false" and not page.locator("#cards").is_visible()
    linked(
        page, "run=2&correct=yes&located=no", page.locator("a[href*='run=2&correct=yes&located=no']").first.inner_text()
    )
    assert page.locator("#cards").is_visible()


def test_every_section_is_named_on_a_phone(page):
    page.set_viewport_size({"width": 390, "height": 800})
    outside = page.locator(".banner nav a").evaluate_all(
        "links => links.filter((link) => link.getBoundingClientRect().right > innerWidth).length"
    )
    assert outside == 0


def test_sorting_puts_samples_without_iou_last(page):
    page.select_option("[name=sort]", "iou-down")
    page.press("#more", "Enter")
    found = scores(page)
    values = [value for value in found if value is not None]
    assert values == sorted(values, reverse=True)
    assert found[len(values) :] == [None] * 12
    page.select_option("[name=sort]", "iou-up")
    assert scores(page)[0] == min(values)


def test_model_choice_changes_the_results(page):
    before = scores(page), page.locator("#cards .pair").all_text_contents()
    page.select_option("[name=run]", "3")
    assert before[1] != page.locator("#cards .pair").all_text_contents()


def test_slider_sets_the_opacity_of_every_map(page):
    canvas = cards(page).first.locator("canvas")
    slider = page.locator("#filters [name=opacity]")
    slider.focus()
    page.keyboard.press("End")
    assert canvas.evaluate("node => getComputedStyle(node).opacity") == "1"
    page.keyboard.press("Home")
    assert canvas.evaluate("node => getComputedStyle(node).opacity") == "0"


def test_permanent_link_opens_the_sample_with_all_models(page, addresses):
    page.goto(addresses["report"] + "#sample=case_102%3ABM")
    page.reload()
    assert page.locator("#viewer").is_visible()
    assert "case_102:BM" in page.locator("#viewer-title").inner_text()
    assert page.locator("#panels > li").count() == 5
    holds(page, "document.querySelectorAll('#panels .marked').length === 4")
    assert page.locator("#panels .outline").count() == 5


def test_unknown_link_is_harmless(page, addresses):
    page.goto(addresses["report"] + "#sample=%E0%A4%A")
    page.reload()
    assert not page.locator("#viewer").is_visible()


def test_keyboard_alone(page):
    page.locator("#cards a").nth(1).focus()
    page.keyboard.press("Enter")
    page.wait_for_selector("#viewer[open]")
    first = page.locator("#viewer-title").inner_text()
    page.keyboard.press("ArrowRight")
    holds(page, "before => document.getElementById('viewer-title').textContent !== before", first)
    page.keyboard.press("ArrowLeft")
    holds(page, "before => document.getElementById('viewer-title').textContent === before", first)
    page.keyboard.press("Escape")
    holds(page, "document.activeElement.className === 'card'")
    page.wait_for_url(lambda url: "sample" not in url)


def test_map_is_the_one_that_was_scored(seen):
    drawn = seen.evaluate(
        """() => {
          const sample = record.samples.find((s) => s.outline && s.results[1].map);
          return Array.from(scaled(sample.results[1].map, sample.width, sample.height));
        }"""
    )
    assert max(drawn) == 1 and min(drawn) >= 0


def test_upsampling_is_torch_bilinear(seen):
    grid = np.random.default_rng(0).integers(0, 256, (3, 5)).astype(np.float32)
    grid[0, 0] = 0
    here = seen.evaluate("g => Array.from(upsample(g, 3, 5, 32, 32))", grid.ravel().tolist())
    here = np.array(here).reshape(32, 32)
    there, _ = activation_maps(grid[None], (32, 32), "relu_max")
    assert np.abs((here - here.min()) / (here.max() - here.min()) - there[0]).max() < 1e-5


def test_dark_and_light(browser, addresses):
    shades = {}
    for scheme in ("light", "dark"):
        page = browser.new_page(color_scheme=scheme)
        page.goto(addresses["report"])
        shades[scheme] = page.evaluate("getComputedStyle(document.body).backgroundColor")
        page.press("#theme", "Enter")
        page.press("#theme", "Enter")
        assert page.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(21, 23, 27)"
        page.close()
    assert shades["light"] != shades["dark"]


def test_page_never_scrolls_sideways(page):
    for width in (360, 768, 1600):
        page.set_viewport_size({"width": width, "height": 800})
        assert page.evaluate("document.documentElement.scrollWidth") <= width


def test_prints_to_pdf(page):
    pdf = page.pdf(format="A4")
    assert pdf.startswith(b"%PDF") and len(pdf) > 50_000
    page.emulate_media(media="print")
    assert not page.locator("#filters").is_visible()
    assert page.locator("#answer").is_visible()


def test_every_control_has_a_name_and_every_image_a_text(seen):
    nameless = seen.evaluate(
        """() => [...document.querySelectorAll('button, select, input')].filter((node) =>
          !node.labels?.length && !node.getAttribute('aria-label') && !node.textContent.trim()).length"""
    )
    assert nameless == 0
    assert seen.locator("img:not([alt])").count() == 0
    assert seen.locator("svg:not([aria-hidden]):not([aria-labelledby])").count() == 0


def test_no_word_of_a_chart_leaves_its_drawing(seen):
    """A drawing as wide as its place, as on paper, would cut it off."""
    outside = seen.evaluate("""() => {
      document.querySelectorAll("details").forEach((each) => { each.open = true; });
      return [...document.querySelectorAll("figure.chart svg")].flatMap((svg) => {
        const box = svg.getBoundingClientRect();
        return [...svg.querySelectorAll("text")].filter((text) => {
          const place = text.getBoundingClientRect();
          return place.left < box.left - 1 || place.right > box.right + 1 || place.bottom > box.bottom + 1;
        }).map((text) => text.textContent);
      });
    }""")
    assert outside == []
