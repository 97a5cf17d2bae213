"""The flow diagram: every count of the record in a box, and in words."""

import re
from xml.etree import ElementTree

import polars as pl

from lesionlens.reporting.charts.flow import flow_chart
from lesionlens.reporting.formatting import EXCLUDED

SVG = "{http://www.w3.org/2000/svg}"


def texts(chart):
    tree = ElementTree.fromstring(chart.alone)
    return [" ".join("".join(node.itertext()).split()) for node in tree.iter(f"{SVG}text")]


def test_every_count_stands_in_its_box(data):
    found = texts(flow_chart(data))
    rows = data.frames["flow_counts"].to_dicts()
    for title, row in zip(("Training", "Validation", "Test"), [row for row in rows if row["split"]], strict=True):
        at = found.index(title)
        names = ("patients", "images", "lesions", "samples")
        assert [int(re.match(r"\d+", line)[0]) for line in found[at + 1 : at + 5]] == [row[name] for name in names]
    (listed,) = [row for row in rows if row["stage"] == "listed"]
    expected = f"{listed['patients']} patients, {listed['images']} images, {listed['lesions']} lesions"
    assert found[found.index("In the data set") + 1] == expected and expected in flow_chart(data).summary
    assert "Excluded: 15 lesions" in found and "3: no mask file" in found


def test_every_reason_has_words_and_room(data, changed):
    every = pl.DataFrame([{"stage": "excluded", "reason": code, "lesions": 1} for code in EXCLUDED])
    flow = pl.concat([data.frames["flow_counts"].filter(pl.col("stage") != "excluded"), every], how="diagonal_relaxed")
    chart = flow_chart(changed(data, flow_counts=flow))
    tree = ElementTree.fromstring(chart.alone)
    height = float(tree.get("height"))
    joined = " ".join(texts(chart))
    for words in EXCLUDED.values():
        assert f"1: {words}" in joined and words in chart.summary
    places = [float(node.get("y") or re.search(r"[ ,](-?[\d.]+)\)", node.get("transform"))[1])
              for node in tree.iter(f"{SVG}text")]  # fmt: skip
    assert all(0 < place < height for place in places)


def test_nothing_is_drawn_without_counts(data, changed):
    assert flow_chart(changed(data, flow_counts=data.frames["flow_counts"].clear())) is None


def test_a_split_without_samples_is_empty(data, changed):
    flow = data.frames["flow_counts"].filter(pl.col("split").ne_missing("validation"))
    found = texts(flow_chart(changed(data, flow_counts=flow)))
    at = found.index("Validation")
    assert found[at + 1 : at + 5] == ["0 patients", "0 images", "0 lesions", "0 samples"]
