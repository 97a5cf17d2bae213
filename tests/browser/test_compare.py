"""The comparison page in a real Chromium, opened from disk."""

import pytest

from .conftest import holds, watched

pytestmark = pytest.mark.browser


@pytest.fixture
def page(browser, addresses):
    with watched(browser, addresses["compare"]) as opened:
        yield opened


def test_one_sample_shows_the_models_of_both_studies(page):
    page.locator("#cards a").first.press("Enter")
    titles = page.locator("#panels h3").all_inner_texts()
    assert len(titles) == 6 and sum("demo" in title for title in titles) == 4 and "other" in titles[-1]
    holds(page, "document.querySelectorAll('#panels canvas').length === 5")
    address = page.url
    page.keyboard.press("Escape")
    page.wait_for_url(lambda url: "#sample" not in url)
    page.goto(address)
    page.locator("#viewer").wait_for(state="visible")


def test_the_gallery_filters_by_any_study_s_model(page):
    page.select_option("[name=run]", "2.1")
    page.select_option("[name=correct]", "no")
    wrong = page.locator("#cards > li").count()
    assert wrong > 0 and page.locator("#cards .wrong").count() == wrong


def test_a_query_is_there_to_be_copied(page):
    page.locator("#models summary").press("Enter")
    assert "SELECT" in page.locator("#models code").inner_text()
