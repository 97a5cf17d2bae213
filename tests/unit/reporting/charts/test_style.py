"""From figures to SVG: structure, colours, bytes; labels that keep their distance."""

import itertools
import re
from concurrent.futures import ThreadPoolExecutor
from xml.etree import ElementTree

import matplotlib
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lesionlens.reporting.charts.curves import learning_curves, reliability, roc_curves, roc_levels, threshold_curves
from lesionlens.reporting.charts.evidence import by_mask_fraction, forest, occlusion_chart, randomisation
from lesionlens.reporting.charts.flow import flow_chart
from lesionlens.reporting.charts.style import COLOURS, SERIES, apart, canvas, chart, labels, line, mark, series, spread

SVG = "{http://www.w3.org/2000/svg}"
HOSTILE = "\"'><script>alert(1)</script>&amp;{{ 7*7 }} 5 % $a_b^c$ #0072b2"


def every(data):
    several = (roc_curves, roc_levels, reliability, learning_curves, threshold_curves, randomisation, by_mask_fraction)
    return [forest(data), occlusion_chart(data), flow_chart(data), *itertools.chain(*(draw(data) for draw in several))]


@pytest.fixture(scope="module")
def charts(data):
    return every(data)


def small(name="small", text="a", title="t", summary="s"):
    figure, axes = canvas((0, 1), (-0.2, 0.6), "x", "y")
    line(axes, (0, 1), (0, 0.5), "curve", series(0))
    mark(axes, 1 / 3, 0.5, text, 8, series(1), label="0.50")
    labels(axes, [(0.5, text, series(0))])
    return chart(name, title, summary, figure)


def test_every_chart_is_named_and_described(charts):
    for drawn in charts:
        tree = ElementTree.fromstring(drawn.alone)
        title, desc = tree.find(f"{SVG}title"), tree.find(f"{SVG}desc")
        assert (tree.get("role"), title.text, desc.text or "") == ("img", drawn.title, drawn.summary)
        assert tree.get("aria-labelledby").split() == [title.get("id"), desc.get("id")]
        assert re.fullmatch(r"0 0 \d+ \d+", tree.get("viewBox"))


def test_charts_share_a_page(charts):
    """No id twice, no style sheet, no reference beyond the chart, colours by name only, as wide as their place."""
    found = [name for drawn in charts for name in re.findall(r'\bid="([^"]+)"', drawn.inline)]
    assert len(found) == len(set(found))
    for drawn in charts:
        own = set(re.findall(r'\bid="([^"]+)"', drawn.inline))
        assert set(re.findall(r'href="#([^"]+)"', drawn.inline)) < own
        assert "url(" not in drawn.inline and "<style" not in drawn.inline and " width=" not in drawn.inline
        assert not re.search(r"#[0-9a-f]{6}", drawn.inline)
        assert set(re.findall(r"var\(--(\w+)\)", drawn.inline)) <= set(COLOURS)
        assert len(drawn.inline) < 16_000


def test_files_stand_alone(charts):
    for drawn in charts:
        tree = ElementTree.fromstring(drawn.alone)
        assert "var(" not in drawn.alone and "font-family: " not in drawn.alone
        assert f"{tree.get('width')} {tree.get('height')}" == tree.get("viewBox").removeprefix("0 0 ")
        assert tree.find(f"{SVG}rect").get("fill") == "#ffffff"


def test_colours_are_those_of_the_page():
    assert len(set(COLOURS.values())) == len(COLOURS) >= 12
    assert [series(n) for n in (0, 7, 8)] == [COLOURS["s0"], COLOURS["s7"], COLOURS["s0"]] and len(set(SERIES)) == 8
    drawn = small()
    assert f"stroke:{COLOURS['s0']}" in drawn.alone.replace(" ", "")
    assert "stroke:var(--s0)" in drawn.inline.replace(" ", "")


def test_the_same_data_give_the_same_bytes(data, charts):
    before = dict(matplotlib.rcParams)
    assert [(drawn.inline, drawn.alone) for drawn in every(data)] == [(drawn.inline, drawn.alone) for drawn in charts]
    with matplotlib.style.context(["dark_background", "ggplot", {"font.size": 30, "lines.linewidth": 9}]):
        assert small() == small() and small().alone == ALONE
    with ThreadPoolExecutor(4) as pool:
        assert {drawn.alone for drawn in pool.map(lambda _: small(), range(12))} == {ALONE}
    assert dict(matplotlib.rcParams) == before


ALONE = small().alone


def test_words_stay_words():
    drawn = small(text=HOSTILE, title=HOSTILE, summary=HOSTILE)
    for text in (drawn.alone, drawn.inline.replace("xlink:", "")):
        tree = ElementTree.fromstring(text)
        assert not [element for element in tree.iter() if element.tag.endswith("script")]
        found = [element.text for element in tree.iter() if element.text and element.tag.rpartition("}")[2] != "svg"]
        assert found.count(HOSTILE) == 4  # title, description, tooltip, label


def test_places_are_hundredths_of_a_unit():
    places = re.findall(r' (?:d|x|y)="([^"]*)"', small().alone)
    assert places and not re.search(r"\.\d{3}", " ".join(places))
    assert 'x="108"' in small().alone  # a third of the way from 32 to 260


def test_ticks_are_round_with_a_true_minus():
    figure, axes = canvas((0, 1), (-0.2, 0.6), "x")
    figure.draw_without_rendering()
    assert [text.get_text() for text in axes.get_yticklabels()] == ["−0.2", "0", "0.2", "0.4", "0.6"]


def test_names_with_one_beginning_are_told_apart_by_their_ends():
    names = ["masses: patches", "masses: films from patches", "masses: films from ImageNet"]
    assert apart(names, 16) == ["masses: patches", "…from patches", "…from ImageNet"]
    assert apart(["a study of masses in films", "other"], 10) == ["a study o…", "other"]
    assert apart(["0123456789a", "0123456789b"], 6) == ["…6789a", "…6789b"]


@pytest.mark.parametrize("text", ["MALIGNANT 0.78", "BENIGN 0.78", "vgg16, last block 0.78", "a"])
def test_the_longest_label_ends_inside_the_figure(text):
    """By the metrics of matplotlib's own bold font, which is a wide one."""
    figure, axes = canvas((0, 1), (0, 1), "x", right=180, size=(270, 238))
    labels(axes, [(0.5, text, series(0)), (0.4, "b", series(1))])
    figure.draw_without_rendering()
    assert max(label.get_window_extent().x1 for label in axes.texts) <= figure.bbox.width
    assert len(text) > 1 or axes.texts[0].get_fontsize() == 12


@given(st.lists(st.floats(-50, 250), max_size=9), st.floats(1, 40))
def test_labels_keep_order_distance_and_room(wanted, gap):
    placed = spread(wanted, gap, 200)
    order = sorted(range(len(wanted)), key=wanted.__getitem__)
    apart = min(gap, 200 / max(len(wanted) - 1, 1))
    assert all(placed[b] - placed[a] > apart - 1e-6 for a, b in itertools.pairwise(order))
    assert all(-1e-6 <= at <= 200 + 1e-6 for at in placed)


@given(st.lists(st.integers(0, 12), unique=True, max_size=9))
def test_labels_that_are_apart_stay_where_they_are(steps):
    assert spread([15.0 * step for step in steps], 15, 200) == pytest.approx([15.0 * step for step in steps])


def test_labels_of_one_height_stand_around_it():
    assert spread([100, 100, 100], 10, 200) == pytest.approx([90, 100, 110])
