"""Several studies on one page."""

import dataclasses
import json
import re
from collections import Counter

import html5lib
import polars as pl
import pytest

from lesionlens.reporting.compare import render_comparison, summary
from tests.report_data import rare


@pytest.fixture(scope="module")
def two(make_data):
    first = make_data()
    config = first.study["config"] | {"seed": 7, "name": "other"}
    other = make_data(runs=(("resnet18", "gradual"), ("vgg11_bn", "gradual")), seed=2)
    return first, dataclasses.replace(other, study=other.study | {"id": 2, "name": "<b>other</b>", "config": config})


@pytest.fixture(scope="module")
def rendered(two):
    return render_comparison(two)


def words(html):
    tree = html5lib.HTMLParser(strict=True, namespaceHTMLElements=False).parse(html)
    return " ".join("".join(tree.itertext()).split())


def gallery_of(page):
    found = re.search(r'<script type="application/json" id="gallery-data">(.*?)</script>', page, flags=re.S)
    return json.loads(found[1])


def test_models_of_all_studies_are_rows(two, rendered):
    text = words(rendered.page)
    assert "2 studies · 6 models" in text and "<b>other</b>" in text
    _, table = summary(two)
    assert table.frame["study"].to_list() == ["demo"] * 4 + ["<b>other</b>"] * 2
    assert table.frame["series"].to_list() == list(range(6))
    accuracy = [value for data in two for value in data.frames["table_2_accuracy"]["accuracy"]]
    assert table.frame["accuracy"].to_list() == accuracy
    heads = pl.concat([data.frames["table_4_localization"].filter("headline") for data in two])
    assert table.frame.select("ll", "whole_patch").equals(heads.select("ll", "whole_patch"))
    assert {"tables/models.csv", "figures/forest.svg"} <= set(rendered.files)


def test_ids_stand_once_and_links_lead_somewhere(rendered):
    found = re.findall(r"<[^>]*\sid=\"([^\"]+)\"", rendered.page)
    assert [name for name, times in Counter(found).items() if times > 1] == []
    assert set(re.findall(r"href=\"#([^\"?]+)", rendered.page)) <= set(found)


def test_only_options_that_differ_are_listed(two, rendered):
    lines = rendered.files["tables/options.csv"].splitlines()
    assert [line.split(",") for line in lines] == [["option", "study demo", "study <b>other</b>"], ["seed", "0", "7"]]
    same = dataclasses.replace(two[0], study=two[0].study | {"id": 3})
    page = render_comparison((two[0], same))
    assert "tables/options.csv" not in page.files and "demo (1)" in words(page.page)


def test_chosen_runs_only(two):
    assert summary(two[:1], [3])[1].frame["run_id"].to_list() == [3]
    with pytest.raises(ValueError, match=r"no evaluated run 9 in these studies; they have 1, 2, 3, 4"):
        render_comparison(two[:1], [9])


def test_studies_without_models_and_no_study(make_data):
    page = render_comparison([make_data(runs=())])
    words(page.page)
    assert "tables/models.csv" not in page.files
    with pytest.raises(ValueError, match="at least one study"):
        render_comparison([])


def test_one_patch_stands_once_with_the_models_of_all_studies(two, rendered):
    """Both studies have the same sample set here."""
    first, other = two
    found = gallery_of(rendered.page)
    assert [run["id"] for run in found["runs"]] == ["1.1", "1.2", "1.3", "1.4", "2.1", "2.2"]
    assert len({run["series"] for run in found["runs"]}) == 6
    assert len(found["samples"]) == first.frames["gallery"].height
    assert {tuple(sample["results"]) for sample in found["samples"]} == {("1.1", "1.2", "1.3", "1.4", "2.1", "2.2")}
    apart = dataclasses.replace(other, study=other.study | {"sample_set_digest": "f" * 64})
    found = gallery_of(render_comparison((first, apart)).page)
    assert len(found["samples"]) == 2 * first.frames["gallery"].height
    assert len({sample["key"] for sample in found["samples"]}) == len(found["samples"])
    assert {len(sample["results"]) for sample in found["samples"]} == {2, 4}


def test_every_table_shows_the_sql_of_every_study(two):
    named = [
        dataclasses.replace(data, sql={name: f"{text} of {n}" for name, text in data.sql.items()})
        for n, data in enumerate(two)
    ]
    page = render_comparison(named).page
    shown = re.findall(r"<code>(.*?)</code>", page, flags=re.S)
    assert len(shown) == 6 and all("of 0;" in text and "of 1;" in text for text in shown)


def differences(*studies):
    _, rows = csv_of(render_comparison(studies), "paired")
    return rows


def csv_of(rendered, name):
    table = pl.read_csv(rendered.files[f"tables/{name}.csv"].encode())
    return table.columns, table.to_dicts()


def second(data, **results):
    """The same study again, under another name, with other results of its samples."""
    made = data.frames["sample_results"].with_columns(**results)
    study = data.study | {"id": 2, "name": "again"}
    return dataclasses.replace(data, study=study, frames=data.frames | {"sample_results": made})


def test_two_equal_studies_do_not_differ(two):
    found = differences(two[0], second(two[0]))
    assert len(found) == 8 and {row["score"] for row in found} == {"accuracy", "ll"}
    assert all(row["difference"] == row["low"] == row["high"] == 0 and row["p_holm"] == 1 for row in found)


def test_studies_that_differ_by_chance_are_not_told_apart(two):
    """Each lesion's IoU is moved by as much up or down as chance wants."""
    noise = pl.col("sample_id").hash(seed=3).mod(2).cast(pl.Int64) * 0.1 - 0.05
    found = differences(two[0], second(two[0], iou=pl.col("iou") + noise))
    assert all(row["low"] < 0 < row["high"] and row["p_holm"] > 0.05 for row in found if row["score"] == "ll")


def test_a_study_whose_maps_fit_worse_is_told_apart(two):
    noise = pl.col("sample_id").hash(seed=3).mod(2).cast(pl.Int64) * 0.1 - 0.05
    found = differences(two[0], second(two[0], iou=pl.col("iou") + noise - 0.1))
    located = [row for row in found if row["score"] == "ll"]
    assert len(located) == 4 and all(0 < row["low"] < 0.1 + 0.05 and row["p_holm"] < 0.01 for row in located)


def test_studies_of_other_samples_are_neither_paired_nor_ranked(two):
    apart = dataclasses.replace(two[1], study=two[1].study | {"sample_set_digest": "f" * 64})
    rendered = render_comparison((two[0], apart))
    assert "tables/paired.csv" not in rendered.files
    text = words(rendered.page)
    assert "are not ranked" in text and "Different samples" in text and "has the highest LL" not in text
    assert "Different samples" not in words(render_comparison((two[0], second(two[0]))).page)


def test_the_verdict_says_whether_the_order_is_certain(two, changed):
    first = two[0]
    above = {name: pl.col(name) + 0.2 for name in ("ll", "low", "high")}
    better = changed(second(first, iou=pl.col("iou") + 0.2), table_4_localization=above)
    assert "excludes 0" in summary((first, better), [1])[0]
    assert "includes 0" in summary((first, second(first)), [1])[0]
    assert "Second" not in summary((first,), [1])[0]


def test_a_warning_about_several_studies_stands_once(rendered):
    text = words(rendered.page)
    assert text.count("Synthetic mammograms") == 1 and "Synthetic mammograms demo, <b>other</b>" in text


def with_films(data, marks):
    """The study's first model with marks at these films (True on the lesion), FROC rows beside them."""
    ids = data.frames["gallery"]["sample_id"].to_list()
    lesions = pl.DataFrame({"sample_id": ids, "ordinal": 0, "x0": 0.0, "y0": 0.0, "x1": 20.0, "y1": 20.0})
    rows = [
        {"run_id": 1, "sample_id": film, "ordinal": 0, "x0": 5.0, "y0": 5.0, "x1": 15.0, "y1": 15.0, "score": 0.9}
        for film, on in zip(ids, marks, strict=True)
        if on
    ]
    detections = rare("detections").with_columns(
        method=pl.when(pl.col("method") == "boxes").then(pl.lit("grad_cam")).otherwise("method")
    )
    marked = pl.DataFrame(rows, schema=rare("marks").schema)
    frames = {"marks": marked, "film_lesions": lesions, "detections": detections}
    return dataclasses.replace(data, frames=data.frames | frames)


def test_two_studies_on_the_same_films_are_paired_by_patient(make_data):
    """The first finds every lesion, the second half of them; a study beside itself differs by nothing."""
    data = make_data(runs=(("resnet18", "gradual"),), per_class=4)
    number = data.frames["gallery"].height
    first = with_films(data, [True] * number)
    second = with_films(data, [n % 2 == 0 for n in range(number)])
    second = dataclasses.replace(second, study=second.study | {"id": 2, "name": "half"})
    page = render_comparison((first, second))
    row = pl.read_csv(page.files["tables/froc-paired.csv"].encode()).row(0, named=True)
    assert row["difference"] == 0.5 and 0 < row["low"] < 0.5 < row["high"] < 1
    assert row["n"] == number and "figures/froc.svg" in page.files
    again = dataclasses.replace(first, study=first.study | {"id": 3, "name": "again"})
    same = pl.read_csv(render_comparison((first, again)).files["tables/froc-paired.csv"].encode())
    assert same.select("difference", "low", "high").row(0) == (0, 0, 0)


def test_studies_on_other_films_are_not_ranked_by_what_they_find(make_data):
    data = make_data(runs=(("resnet18", "gradual"),), per_class=4)
    first = with_films(data, [True] * data.frames["gallery"].height)
    apart = dataclasses.replace(first, study=first.study | {"id": 2, "name": "apart", "sample_set_digest": "f" * 64})
    files = render_comparison((first, apart)).files
    assert "tables/froc.csv" in files and "tables/froc-paired.csv" not in files and "figures/froc.svg" not in files
