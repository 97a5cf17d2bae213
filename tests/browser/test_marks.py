"""Films with marks: misses first, a filter that an address keeps, boxes over the film, by keyboard."""

import dataclasses

import polars as pl
import pytest

from lesionlens.records import ReportData
from lesionlens.reporting.page import render

from .conftest import holds, watched

pytestmark = pytest.mark.browser


@pytest.fixture(scope="module")
def page_of_films(data: ReportData, tmp_path_factory: pytest.TempPathFactory) -> str:
    """Every sample shows a lesion; the first model misses those of every third and marks every fourth wrongly too."""
    ids = data.frames["gallery"]["sample_id"].to_list()
    lesions = pl.DataFrame({"sample_id": ids, "ordinal": 0, "x0": 4.0, "y0": 4.0, "x1": 24.0, "y1": 24.0})
    found = [key for n, key in enumerate(ids) if n % 3]
    box = {"run_id": 1, "ordinal": 0, "x0": 6.0, "y0": 6.0, "x1": 22.0, "y1": 22.0, "score": 0.9}
    marks = pl.concat(
        [
            pl.DataFrame({"sample_id": found}).with_columns(**{name: pl.lit(value) for name, value in box.items()}),
            pl.DataFrame({"sample_id": ids[::4]}).with_columns(
                **{name: pl.lit(value) for name, value in (box | {"x0": 50.0, "x1": 70.0, "score": 0.5}).items()}
            ),
        ]
    )
    frames = data.frames | {"marks": marks, "film_lesions": lesions}
    made = tmp_path_factory.mktemp("marks") / "page.html"
    study = data.study | {"config": data.study["config"] | {"unit": "image"}}
    made.write_text(render(dataclasses.replace(data, study=study, frames=frames)).page)
    return made.as_uri()


def test_films_with_a_lesion_missed_come_first_and_a_filter_stays_in_the_address(browser, page_of_films: str) -> None:  # type: ignore[no-untyped-def]
    with watched(browser, page_of_films) as page:
        assert page.input_value("[name=sort]") == "rank-up"
        told = page.locator("#cards > li").all_text_contents()
        assert all("0 of 1 lesion found" in text for text in told[:20])
        assert sum("0 of 1 lesion found, nothing marked" in text for text in told[:20]) == 15
        assert all("1 of 1 lesion found, 1 false mark" in text for text in told[20:30])
        page.select_option("[name=marks]", "false")
        assert page.locator("#found").inner_text().startswith("10 of 60")
        address = page.url
        assert "marks=false" in address
    with watched(browser, page_of_films) as page:
        page.goto(address)
        page.reload()
        assert page.locator("#found").inner_text().startswith("10 of 60")
        first = page.locator("#cards a").first
        key = first.evaluate("a => a.parentElement.dataset.key")
        first.focus()
        page.keyboard.press("Enter")
        page.wait_for_selector("#panels rect.mark.false")
        panel = page.locator("#panels li").nth(1)
        assert page.locator("#panels h3").first.inner_text() == "Film and annotation"
        assert panel.locator("rect.mark").count() == 2 and panel.locator("rect.lesion").count() == 1
        assert panel.locator("text").all_text_contents() == ["0.90", "0.50"]
        assert "1 of 1 lesion found, 1 false mark" in (panel.locator("img").get_attribute("alt") or "")
        page.keyboard.press("ArrowRight")
        holds(page, "key => !location.hash.includes(encodeURIComponent(key))", key)
        page.keyboard.press("Escape")
        holds(page, "location.hash.includes('marks=false')")


def test_a_missed_lesion_is_named_in_words(browser, page_of_films: str) -> None:  # type: ignore[no-untyped-def]
    with watched(browser, page_of_films) as page:
        page.select_option("[name=marks]", "nothing")
        assert page.locator("#found").inner_text().startswith("15 of 60")
        page.select_option("[name=marks]", "missed")
        page.locator("#cards a").first.press("Enter")
        page.wait_for_selector("#panels rect.missed")
        assert "missed" in page.locator("#panels text.missed").first.text_content()


def test_words_beside_a_box_end_inside_the_film(browser, page_of_films: str) -> None:  # type: ignore[no-untyped-def]
    with watched(browser, page_of_films) as page:
        right = page.evaluate("""() => {
            const picture = document.querySelector(".picture svg"), width = picture.viewBox.baseVal.width;
            const words = box(0.9 * width, 0, width, 10, "lesion missed", "missed", width)[1];
            picture.append(words);
            return (words.getBBox().x + words.getBBox().width) / width;
        }""")
        assert 0.8 < right <= 0.99
