"""The page: valid, whole, escaped, in the reader's words."""

import copy
import dataclasses
import json
import re
from collections import Counter

import html5lib
import polars as pl
import pytest

from lesionlens.reporting.compare import render_comparison
from lesionlens.reporting.data import FRAMES
from lesionlens.reporting.page import context, render
from lesionlens.reporting.tables.spec import Table

HOSTILE = "\"'><script>alert(1)</script></script><img src=x onerror=alert(2)>&amp;{{ 7*7 }}"


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


def test_valid_and_self_contained(data):
    html = render(data).page
    parse(html)
    assert not re.search(r"""(?:src|href)=["']?(?:https?:)?//|url\(|@import""", html)
    assert "default-src 'none'" in html


def test_every_id_stands_once_and_every_link_leads_somewhere(data):
    for page in (render(data).page, render_comparison([data]).page):
        found = re.findall(r"<[^>]*\sid=\"([^\"]+)\"", page)
        assert [name for name, times in Counter(found).items() if times > 1] == []
        assert set(re.findall(r"href=\"#([^\"]+)\"", page)) <= set(found)


def test_same_data_same_page(make_data):
    assert render(make_data(seed=3)) == render(make_data(seed=3))


def test_numbers_of_the_record_are_on_the_page(data):
    text = words(render(data).page)
    for row in data.frames["table_2_accuracy"].iter_rows(named=True):
        assert f"{row['accuracy']:.2f} {row['low']:.2f}–{row['high']:.2f}" in text
    for row in data.frames["table_4_localization"].filter(pl.col("headline")).iter_rows(named=True):
        assert f"{row['ll']:.2f} {row['low']:.2f}–{row['high']:.2f}" in text


def test_no_code_names_in_text(data):
    text = words(render(data).page)
    for code in ("vgg11_bn", "resnet18", "grad_cam", "per_class", "relu_max", "whole_patch", "correct_lesions", "_"):
        assert code not in text, text[max(0, text.find(code) - 60) : text.find(code) + 60]


def test_published_difference_where_backbone_and_strategy_match(make_data):
    data = make_data(runs=(("vgg19", "gradual"), ("resnet50", "simultaneous")))
    text = words(render(data).page)
    assert f"0.66 {moved(data.frames['table_2_accuracy'].row(0, named=True), 'accuracy', 0.66)}" in text
    table_4 = data.frames["table_4_localization"].filter(pl.col("headline"))
    assert f"0.120 {moved(table_4.row(0, named=True), 'll', 0.12)}" in text
    assert "difference, from hard predictions +0.01 −0.04 to 0.05" in text
    assert "published no run" not in text and text.count("is taken as exact") == 3
    assert "is taken as exact" not in words(render(make_data()).page)
    assert "published no run of VGG11 with batch norm, ResNet18" in words(render(make_data()).page)


def moved(row, name, by):
    """A score and its interval minus a published value, as written."""
    low, high = (f"{row[end] - by:.2f}" for end in ("low", "high"))
    joint = " to " if "-" in low + high else "–"
    return f"{row[name] - by:+.2f} {low}{joint}{high}".replace("-", "−")


def test_table_1_says_how_far_its_counts_are_from_the_published_ones(data):
    text = words(render(data).page)
    assert "BC 51 9 60 12 358 −298 110 −98 110" in text
    assert "2 530 −2 230 857 −797 619" in text


def test_shared_patients_of_the_data_sets_own_parts_are_noted(data):
    assert "came with share" not in words(render(data).page)
    frames = data.frames | {"official_overlap": pl.DataFrame({"unit": ["patient", "image"], "shared": [31, 29]})}
    page = words(render(dataclasses.replace(data, frames=frames)).page)
    assert "came with share 31 patients, with 29 images of the same side and view" in page


def test_contradictions_of_the_study_are_noted(data):
    text = words(render(data).page)
    assert "857 test patches, its classification reports 619" in text
    assert "(recall + specificity) / 2" in text
    assert "its own table says strategy 2" in text
    assert "about 28 %" in text


def test_hostile_values_stay_text(make_data):
    data = make_data(per_class=2)
    frames = dict(data.frames)
    for name, found in frames.items():
        texts = [column for column, kind in found.schema.items() if kind == pl.String]
        keep = {
            "backbone",
            "strategy",
            "method",
            "target",
            "policy",
            "population",
            "unit",
            "split_a",
            "split_b",
            "name",
        }
        keep -= {"name"} if name == "labels" else set()
        changed = [(pl.lit(HOSTILE) + pl.col(column)).alias(column) for column in texts if column not in keep]
        frames[name] = found.with_columns(changed)
    config = copy.deepcopy(data.study["config"]) | {"name": HOSTILE}
    study = data.study | {"name": HOSTILE, "config": config, "versions": {HOSTILE: HOSTILE}}
    html = render(dataclasses.replace(data, study=study, frames=frames)).page
    tree = parse(html)
    scripts = [node for node in tree.iter("script")]
    assert len(scripts) == 2
    assert all(set(image.attrib) <= {"src", "alt", "loading"} for image in tree.iter("img"))
    assert all(image.get("src", "").startswith("data:image/webp;base64,") for image in tree.iter("img"))
    payload = next(node for node in scripts if node.get("type") == "application/json")
    assert HOSTILE in json.loads(payload.text)["samples"][0]["key"]
    assert HOSTILE in "".join(tree.itertext())
    assert "49" not in tree.find(".//title").text


@pytest.mark.parametrize("runs", [(), (("resnet18", "gradual"),)], ids=["no run", "one run"])
def test_few_runs(make_data, runs):
    html = render(make_data(runs=runs)).page
    parse(html)
    assert ("There is no answer yet." in html) == (not runs)


def test_unfinished_runs_only(data):
    scored = ("table_2_accuracy", "table_3_auc", "table_4_localization", "confusion_matrix", "class_scores",
              "run_scores", "sample_results", "maps", "iou_curves", "selected_runs", "epochs")  # fmt: skip
    empty = {name: data.frames[name].clear() for name in scored}
    runs = data.frames["runs"].with_columns(status=pl.lit("running"), finished_at=None, device=None)
    html = render(dataclasses.replace(data, frames=data.frames | empty | {"runs": runs})).page
    parse(html)
    assert "4 runs are missing" in html


def test_missing_scores_are_dashes(data):
    frames = dict(data.frames)
    for name in ("table_2_accuracy", "table_3_auc", "table_4_localization", "class_scores", "run_scores"):
        floats = [column for column, kind in frames[name].schema.items() if kind == pl.Float64]
        frames[name] = frames[name].with_columns(pl.lit(None, pl.Float64).alias(column) for column in floats)
    floats = ["iou", "confidence", "threshold", "whole_patch_iou", "mask_fraction"]
    frames["sample_results"] = frames["sample_results"].with_columns(pl.lit(None, pl.Float64).alias(c) for c in floats)
    html = render(dataclasses.replace(data, frames=frames)).page
    parse(html)
    assert "nan" not in words(html).lower().split()


def test_other_classes(make_data):
    labels = (("ok", "healthy", "none", False), ("crack", "crack", "defect", True), ("dent", "dent", "defect", True))
    html = render(make_data(labels=labels)).page
    text = words(html)
    assert "published" not in text.lower() and "The study" not in text and "CBIS" not in text
    assert "Accuracy × LL" in text and "Table II" in text
    assert "crack" in text


def test_missing_column_is_named(data):
    frames = data.frames | {"table_2_accuracy": data.frames["table_2_accuracy"].drop("low")}
    with pytest.raises(KeyError, match=r"table_2_accuracy.*lacks low"):
        render(dataclasses.replace(data, frames=frames))


def test_missing_frame_is_named(data):
    frames = {name: found for name, found in data.frames.items() if name != "epochs"}
    with pytest.raises(KeyError, match="no frame 'epochs'"):
        render(dataclasses.replace(data, frames=frames))


def test_frames_read_are_those_of_the_record(data):
    assert set(FRAMES) <= set(data.frames)


def test_every_table_shows_its_query(data):
    found = [value for value in context(data, None).values() if isinstance(value, Table)]
    assert len(found) > 15
    assert [table.name for table in found if not table.sql] == []
