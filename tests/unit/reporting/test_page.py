"""The page: valid, self-contained, escaped; every number of the record on it, every table with its SQL."""

import copy
import dataclasses
import json
import re
from collections import Counter

import html5lib
import polars as pl
import pytest

from lesionlens.config.presets import demo
from lesionlens.reporting.page import LATEX, context, render
from lesionlens.reporting.tables.spec import TableSpec
from tests.report_data import RUNS, build

HOSTILE = "\"'><script>alert(1)</script></script><img src=x onerror=alert(2)>&amp;{{ 7*7 }}"
CODES = {"backbone", "strategy", "method", "target", "policy", "population", "entity", "split_a", "split_b", "name",
         "baseline", "score", "side", "average"}  # fmt: skip


def parse(html):
    """Document tree; raises on any parse error."""
    return html5lib.HTMLParser(strict=True, tree=html5lib.getTreeBuilder("etree"), namespaceHTMLElements=False).parse(
        html
    )


def words(html):
    """What a reader sees: text without scripts, styles, configuration and queries."""
    tree = parse(html)
    for parent in tree.iter():
        for child in list(parent):
            if child.tag in ("script", "style", "code", "head"):
                parent.remove(child)
    return " ".join(" ".join(tree.itertext()).split())


@pytest.fixture(scope="module")
def one(make_data):
    """One run on ten patches: quickly rendered."""
    return make_data(runs=RUNS[:1], per_class=2)


@pytest.fixture(scope="module")
def text(rendered):
    return words(rendered.page)


def test_valid_and_self_contained(rendered):
    assert not re.search(r"""(?:src|href)=["']?(?:https?:)?//|url\(|@import""", rendered.page)
    assert "default-src 'none'" in rendered.page


def test_every_id_stands_once_and_every_link_leads_somewhere(rendered):
    found = re.findall(r"<[^>]*\sid=\"([^\"]+)\"", rendered.page)
    assert [name for name, times in Counter(found).items() if times > 1] == []
    assert set(re.findall(r"href=\"#([^\"?]+)", rendered.page)) <= set(found)


def test_same_data_same_page(one):
    assert render(one) == render(one)


def test_numbers_of_the_record_are_on_the_page(data, text):
    headline = data.frames["table_4_localization"].filter("headline")
    for frame, value in ((data.frames["table_2_accuracy"], "accuracy"), (headline, "ll")):
        for row in frame.iter_rows(named=True):
            assert f"{row[value]:.2f} {row['low']:.2f}–{row['high']:.2f}" in text


def test_no_code_names_in_text(text):
    for code in ("vgg11_bn", "resnet18", "grad_cam", "per_class", "relu_max", "whole_patch", "correct_lesions", "_"):
        assert code not in text, text[max(0, text.find(code) - 60) : text.find(code) + 60]


def test_every_table_shows_the_sql_that_ran(one):
    page = render(one).page
    found = [value for value in context(one).values() if isinstance(value, TableSpec)]
    assert len(found) > 15
    assert [table.name for table in found if "SELECT * FROM" not in table.sql] == []
    for table in found:
        if len(table):
            assert table.sql in page


def test_every_table_and_figure_has_its_file(rendered):
    names = set(rendered.files)
    assert {f"tables/{name}.{kind}" for name in LATEX for kind in ("csv", "tex")} <= names
    assert {"tables/occlusion.csv", "tables/confusion-1.csv", "figures/forest.svg", "figures/roc-1.svg"} <= names


def test_hostile_values_stay_text(one):
    frames = {}
    for name, found in one.frames.items():
        texts = [column for column, kind in found.schema.items() if kind == pl.String]
        keep = CODES - ({"name"} if name == "labels" else set())
        frames[name] = found.with_columns((pl.lit(HOSTILE) + pl.col(c)).alias(c) for c in texts if c not in keep)
    config = copy.deepcopy(one.study["config"]) | {"name": HOSTILE}
    study = one.study | {"name": HOSTILE, "config": config, "versions": {HOSTILE: HOSTILE}}
    sql = {name: f"{text} -- {HOSTILE}" for name, text in one.sql.items()}
    rendered = render(dataclasses.replace(one, study=study, frames=frames, sql=sql))
    tree = parse(rendered.page)
    scripts = list(tree.iter("script"))
    assert len(scripts) == 2
    assert all(set(image.attrib) <= {"src", "alt", "loading"} for image in tree.iter("img"))
    assert all(image.get("src", "").startswith("data:image/webp;base64,") for image in tree.iter("img"))
    payload = next(node for node in scripts if node.get("type") == "application/json")
    assert HOSTILE in json.loads(payload.text)["samples"][0]["key"]
    assert HOSTILE in "".join(tree.itertext())
    assert "49" not in tree.find(".//title").text


def test_few_runs(make_data, one):
    for data, options in ((make_data(runs=()), 0), (one, 1)):
        html = render(data).page
        parse(html)
        assert len(re.findall(r'<option value="1"( selected)?>', html)) == 2 * options  # gallery and examples


def test_unfinished_runs_only(data):
    kept = ("labels", "table_1_patches", "runs", "gallery", "contact_sheet", "split_check", "normalisation")
    frames = {name: found if name in kept else found.clear() for name, found in data.frames.items()}
    frames["runs"] = frames["runs"].with_columns(status=pl.lit("running"), seconds=None, device=None)
    html = render(dataclasses.replace(data, frames=frames)).page
    parse(html)
    assert "4 runs are missing" in html


def test_missing_scores_are_dashes(one):
    frames = {}
    for name, found in one.frames.items():
        floats = [c for c, kind in found.schema.items() if kind == pl.Float64] if name not in ("runs", "epochs") else []
        frames[name] = found.with_columns(pl.lit(None, pl.Float64).alias(column) for column in floats)
    html = render(dataclasses.replace(one, frames=frames)).page
    parse(html)
    assert not {"nan", "None"} & set(words(html).split())


def test_classes_of_ones_own_have_nothing_published_beside_them(make_data):
    labels = (("ok", "healthy", "none", False), ("crack", "crack", "defect", True), ("dent", "dent", "defect", True))
    found = words(render(make_data(labels=labels, runs=RUNS[:1], per_class=2)).page)
    assert "published" not in found.lower() and "CBIS" not in found
    assert "Accuracy × LL" in found and "Table II" in found and "crack" in found


def test_missing_frame_is_named(data):
    frames = {name: found for name, found in data.frames.items() if name != "epochs"}
    with pytest.raises(KeyError, match="no frame 'epochs'"):
        render(dataclasses.replace(data, frames=frames))


@pytest.mark.parametrize(("unit", "one", "several"), [("image", "film", "films"), ("breast", "breast", "breasts")])
def test_a_page_calls_its_samples_what_they_are(unit: str, one: str, several: str) -> None:
    shown = words(render(build(config=demo().model_dump(mode="json") | {"unit": unit}, per_class=2)).page)
    assert f"Every evaluated test {one}" in shown and f"whole {one}" in shown and f"test {several}" in shown
    assert re.findall(r".{0,30}\b[Pp]atch(?:es)?\b(?! run).{0,30}", shown) == []
