"""Several studies on one page."""

import dataclasses
import importlib

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
    assert set(schema["properties"]) == {"studies", "runs"} and schema["required"] == ["studies"]
