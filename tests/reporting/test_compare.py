"""Several studies on one page."""

import dataclasses
import importlib
import json
import re

import html5lib
import pytest

from lesionlens.reporting.compare import render_comparison


@pytest.fixture(scope="module")
def two(make_data):
    first = make_data()
    config = first.study["config"] | {"seed": 7, "name": "other"}
    other = make_data(runs=(("resnet18", "gradual"), ("vgg11_bn", "gradual")), seed=2)
    return first, dataclasses.replace(other, study=other.study | {"id": 2, "name": "<b>other</b>", "config": config})


def words(html):
    tree = html5lib.HTMLParser(strict=True, namespaceHTMLElements=False).parse(html)
    return " ".join("".join(tree.itertext()).split())


def test_models_of_all_studies_are_rows(two):
    rendered = render_comparison(two)
    text = words(rendered.page)
    assert "2 studies · 6 models" in text and "<b>other</b>" in text
    lines = rendered.files["tables/models.csv"].splitlines()
    assert len(lines) == 7 and lines[5].count("<b>other</b>") == 1
    assert "tables/options.csv" in rendered.files and "figures/forest.svg" in rendered.files


def test_only_options_that_differ_are_listed(two):
    lines = render_comparison(two).files["tables/options.csv"].splitlines()
    assert lines[0].startswith("Option,") and [line.split(",")[0] for line in lines[1:]] == ["seed"]
    same = render_comparison((two[0], two[0]))
    assert "the configurations are the same" in words(same.page) and "demo (1)" in words(same.page)


def test_chosen_runs_only(two):
    assert "1 model " in words(render_comparison(two[:1], [3]).page).replace("1 model<", "1 model ")
    with pytest.raises(ValueError, match=r"no evaluated run 9 in these studies; they have 1, 2, 3, 4"):
        render_comparison(two[:1], [9])


def test_studies_without_models_and_no_study(make_data):
    assert "None of these models has a localisation score" in words(render_comparison([make_data(runs=())]).page)
    with pytest.raises(ValueError, match="at least one study"):
        render_comparison([])


def test_it_is_a_flow_of_its_own():
    flow = importlib.import_module("flows.compare").compare
    schema = flow.parameters.model_dump()
    assert set(schema["properties"]) == {"studies", "runs"} and not schema["required"]


def gallery_of(page):
    found = re.search(r'<script type="application/json" id="gallery-data">(.*?)</script>', page, flags=re.S)
    return json.loads(found[1])


def test_one_patch_stands_once_with_the_models_of_all_studies(two):
    """Both studies have the same sample set here."""
    first, other = two
    found = gallery_of(render_comparison(two).page)
    assert [run["id"] for run in found["runs"]] == ["1.1", "1.2", "1.3", "1.4", "2.1", "2.2"]
    assert len({run["series"] for run in found["runs"]}) == 6
    assert len(found["samples"]) == first.frames["gallery"].height
    assert {tuple(sample["results"]) for sample in found["samples"]} == {("1.1", "1.2", "1.3", "1.4", "2.1", "2.2")}
    apart = dataclasses.replace(other, study=other.study | {"sample_set_digest": "f" * 64})
    found = gallery_of(render_comparison((first, apart)).page)
    assert len(found["samples"]) == 2 * first.frames["gallery"].height
    assert len({sample["key"] for sample in found["samples"]}) == len(found["samples"])
    assert {len(sample["results"]) for sample in found["samples"]} == {2, 4}


def test_every_table_shows_its_query(two):
    page = render_comparison(two).page
    assert page.count("Query behind this table") == 5 and "study_id in (1, 2)" in page


def test_the_verdict_says_whether_the_order_is_certain(two):
    def verdict(*given):
        return re.search(r'<p class="verdict">(.*?)</p>', render_comparison(*given).page)[1]

    assert "the intervals overlap, so the order is not certain" in verdict(two)
    first, other = two
    far = other.frames["table_4_localization"].with_columns(ll=0.9, low=0.85, high=0.95)
    apart = dataclasses.replace(other, frames=other.frames | {"table_4_localization": far})
    text = verdict((first, dataclasses.replace(apart, study=apart.study | {"name": "far"})), [1, 2])
    assert "in far: a mean IoU of 0.90 (0.85 to 0.95). Next comes" in text
    only = verdict((first,), [1])
    assert "The highest LL score is" in only and "Next comes" not in only


def test_a_warning_about_several_studies_stands_once(two):
    text = words(render_comparison(two).page)
    assert text.count("The images are drawn by a program") == 1 and "Synthetic mammograms demo, <b>other</b>" in text
