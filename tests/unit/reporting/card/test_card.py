"""The model card: what the frames hold, as JSON and as Markdown; nothing where they hold nothing."""

import dataclasses
import json

import polars as pl
import pytest

from lesionlens.reporting.card.content import CARD, as_json, content
from lesionlens.reporting.card.markdown import SECTIONS, markdown, plain, table
from lesionlens.reporting.verdict import chosen

HOSTILE = "a|b\n# <script>alert(1)</script> [x](javascript:y) *z* `c`"


@pytest.fixture(scope="module")
def card(data):
    return content(data)


def line(text, *beginning):
    """The cells of the only row of a table that begins so."""
    (found,) = [row for row in text.splitlines() if row.startswith(f"| {' | '.join(beginning)} |")]
    return [cell.strip() for cell in found.strip("|").split("|")]


def test_a_card_needs_no_more_than_its_frames(data, card):
    frames = {name: found for name, found in data.frames.items() if name in CARD}
    assert set(frames) == set(CARD)
    assert content(dataclasses.replace(data, frames=frames)) == card


def test_scores_and_counts_are_those_of_the_record(data, card):
    model = chosen(data)
    row = data.frames["table_2_accuracy"].filter(run_id=model.run_id).row(0, named=True)
    (accuracy,) = [score for score in card["scores"] if score["of"] == "test split"]
    assert accuracy == {"score": "accuracy", "of": "test split", "value": row["accuracy"], "low": row["low"],
                        "high": row["high"], "n": row["n"]}  # fmt: skip
    assert (card["model"]["run"], card["model"]["backbone"]) == (model.run_id, model.backbone)
    assert card["model"]["checkpoint"]["sha256"] == "12" * 32
    flow = data.frames["flow_counts"]
    assert [part["lesions"] for part in card["data"]["included"]] == flow.drop_nulls("split")["lesions"].to_list()
    assert card["answers"] == data.frames["answers"].to_dicts()
    assert card["data"]["test_split"]["runs"] == 7
    areas = [score for score in card["scores"] if (score["score"], score["of"]) == ("auc", "mean")]
    assert [area["n"] for area in areas] == [row["n"]]
    points = [score for score in card["scores"] if "specificity 0.9 on validation" in score["of"]]
    assert len(points) == 2 * 3 * 2
    assert json.loads(as_json(card))["scores"] == json.loads(json.dumps(card["scores"]))


def test_the_markdown_shows_the_same(data, card):
    text = markdown(card)
    assert [part for part in text.splitlines() if part.startswith("## ")] == [f"## {name}" for name in SECTIONS]
    row = next(score for score in card["scores"] if score["of"] == "test split")
    expected = f"{row['value']:.2f} ({row['low']:.2f} to {row['high']:.2f})"
    assert line(text, "accuracy", "test split")[2:] == [expected, str(row["n"])]
    assert line(text, "excluded: no mask file")[3] == "3"
    for answer in card["answers"]:
        assert plain(answer["sentence"]) in text
    assert "* options.augment: none\n" in text and "* grid.backbones: vgg11\\_bn; resnet18\n" in text
    assert "* grid.sets: batch\\_size 16, head\\_rate 0.001, unit1\\_rate 0.0003\n" in text
    assert card["notice"] in text and "Not a medical device" in card["notice"]
    assert line(text, "5", "–")[3] == "not recorded" and line(text, "7", "5a")[3] == "demo, layout phantom"


def test_nothing_is_said_of_a_study_that_was_not_evaluated(make_data):
    found = content(make_data(runs=()))
    assert found["model"] is None and found["scores"] == found["answers"] == found["subgroups"] == []
    text = markdown(found)
    assert "## Model\n\nnot recorded" in text and "## Answer\n\nnot recorded" in text
    assert "accuracy" not in text.lower().partition("## checklist")[0]


def test_licences_are_said_where_they_are_known(data):
    def of(kind):
        return content(dataclasses.replace(data, study=data.study | {"dataset_kind": kind}))["licences"]

    assert of("manifest")[1] == "phantom: not recorded"
    assert "CC BY 3.0" in of("cbis_dicom")[1]
    assert of("manifest")[0] == "lesionlens: Apache-2.0"


def test_names_are_text_and_never_markup(data):
    classes = data.frames["labels"].with_columns(name=pl.lit(HOSTILE))
    hostile = dataclasses.replace(data, study=data.study | {"name": HOSTILE}, frames=data.frames | {"labels": classes})
    text = markdown(content(hostile))
    assert "<script" not in text.replace("\\<", "") and "\n# <" not in text
    assert text.splitlines()[0].startswith("# Model card: a\\|b # \\<script")
    classes = text.replace("\\|", "¦").partition("## Classes\n")[2].partition("\n## ")[0]
    assert line(classes, "BM")[3] == "yes"
    assert plain("a | b\nc") == "a \\| b c" and plain("") == plain(None) == "not recorded" and plain(0) == "0"
    assert table(("A",), []) == "not recorded"
