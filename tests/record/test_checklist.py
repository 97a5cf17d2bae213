"""The checklist: every item of both guidelines, every query run, every value what the record holds."""

import re

import pytest
from sqlalchemy import Connection, text

from db import studies
from db.queries.checklist import ITEMS, checklist, script
from tests.record.makers import IDENTITY, Filled, make_index

EXPECTED = {
    "1": "deep learning, convolutional networks: resnet18",
    "2": "detection: not shown; diagnosis: not shown",
    "4": "questions asked of the classifier: detection, diagnosis",
    "7": f"tiny, layout phantom, digest {make_index().digest}",
    "8": "1 of 9 lesions excluded: no mask 1",
    "9": "windows 3.0 times the lesion's box, square, resized to 16 x 16 pixels (h x w); input statistics: train",
    "10": "grey values of one window per lesion; without a lesion at most 4 windows an image, size 550",
    "12": "lesions left out because of their files: 0",
    "14": "classes of the data set: B (background), BM (benign mass), MM (malignant mass)",
    "17": "4 of 6 test samples hold an annotated lesion",
    "19": "rule sound; validation is 0.15 of training, kept together by patient; seed 0",
    "20": "image: 1 shared between splits; patient: 0 shared between splits",
    "t13": "training samples: B 1, BM 1, MM 1",
    "22": "resnet18, gradual training, batch 16, rates 0.0001 (head) and 3e-05 (unit1), seeds: 1",
    "t15": "a probability for each class; classes: 3",
    "t12b": "training grey values: mean 0.400, standard deviation 0.200",
    "23": "torch 2",
    "24": "weights: none; seeds: 0",
    "25": "stops after 7 epochs without progress, at most 100 a phase; augmentation: none; runs finished: 2 of 2",
    "26": "lowest validation scaled loss, mean over seeds: 0.600",
    "27": "none; runs scored one by one: 2",
    "28": "acc x ll, accuracy, auc, auc hard, calibration error, lesion auc, ll, occlusion control drop, "
    "occlusion difference, occlusion lesion drop",
    "29": "intervals of level 0.95, bootstrap over patients, 1000 resamples; paired differences between runs, "
    "p after Holm: 1",
    "30": "regressions without the lesion: majority, size",
    "t14, 12d, 23b": "view: CC 0.50 (n 6)",
    "31": "maps: grad cam",
    "32": "runs evaluated on this test split in this record: 2, of studies: 1",
    "33": "evaluations on other data in this record: 0",
    "35": "train: 3 patients, 3 images, 2 lesions, 3 samples; validation: 3 patients, 3 images, 2 lesions, 3 samples; "
    "test: 6 patients, 6 images, 4 lesions, 6 samples; all splits: 12 patients, 12 images, 8 lesions, 12 samples",
    "36": "train: B 1, BM 1, MM 1; validation: B 1, BM 1, MM 1; test: B 2, BM 2, MM 2",
    "37": "resnet18 gradual: accuracy 0.83 (0.10 to 0.90), n 6; "
    "resnet18 simultaneous: accuracy 0.67 (0.10 to 0.90), n 6",
    "38": "; ".join(
        f"detection by patient: sensitivity at specificity {at} on validation 0.60 (0.10 to 0.90), n 6"
        for at in (0.8, 0.9)
    ),
    "39": "; ".join(
        f"{right}, map {where}: 1 of 4 lesions"
        for right in ("correct", "wrong")
        for where in ("in the lesion", "elsewhere")
    ),
    "t22": f"run {{run}}, weights after epoch 2, SHA-256 {'ab' * 32}",
    "40": "what stands before a yes: chance, coarse, few, leak, no audit, no baseline, no diagnosis, no hits",
    "42": "the whole configuration, digest {digest}, entered {day}",
    "43": "runs whose weights are kept, with their digests: 2",
}
"""What makers.py put into the record, by CLAIM's number, or TRIPOD+AI's behind a t."""


def number(row: dict[str, str]) -> str:
    return row["claim"] or f"t{row['tripod']}"


def test_every_item_of_both_guidelines_stands_there() -> None:
    claim = [item.claim for item in ITEMS if item.claim]
    assert claim == [str(n) for n in range(1, 45)]
    tripod = {int(n) for item in ITEMS for n in re.findall(r"\d+", item.tripod)}
    assert tripod == set(range(1, 28))
    assert all(item.claim or item.tripod for item in ITEMS)


def test_every_value_is_what_the_record_holds(connection: Connection, filled: Filled) -> None:
    study = studies.study_row(connection, filled.study)
    day = connection.scalar(text("SELECT (created_at AT TIME ZONE 'UTC')::date FROM study"))
    held = {"run": filled.runs[0], "digest": study.digest, "day": day}
    found = {number(row): row["value"] for row in checklist(connection, filled.study).iter_rows(named=True)}
    assert {name: value for name, value in found.items() if value is not None} == {
        name: words.format(**held) if "{" in words else words for name, words in EXPECTED.items()
    }


def test_every_query_gives_its_value_to_a_reader_of_views(connection: Connection, filled: Filled) -> None:
    """As the page shows it: alone, and all of them as one script."""
    found = checklist(connection, filled.study)
    connection.execute(text("SET LOCAL ROLE lesionlens_reader"))
    shown = script(found)
    assert found["query"].drop_nulls().len() == len(EXPECTED)
    for row in found.drop_nulls("query").iter_rows(named=True):
        given = [value for (value,) in connection.exec_driver_sql(row["query"]) if value is not None]
        assert "; ".join(given) == row["value"] and row["query"] in shown
    connection.exec_driver_sql(shown)


def test_what_is_not_there_yet_is_not_recorded(connection: Connection, filled: Filled) -> None:
    """A study that was planned and never trained."""
    config = studies.study_config(connection, filled.study) | {"seed": 7}
    planned = studies.save_study(connection, "s" * 64, "planned", config, IDENTITY, filled.sample_set, {})
    found = {number(row): row["value"] for row in checklist(connection, planned).iter_rows(named=True)}
    computed = ("1", "2", "4", "22", "23", "24", "26", "27", "28", "31", "37", "38", "39", "t22", "40", "43")
    assert {name: found[name] for name in computed} == dict.fromkeys(computed)
    assert found["35"] == EXPECTED["35"] and found["19"].endswith("seed 7")


@pytest.mark.parametrize("item", [item for item in ITEMS if item.query], ids=lambda item: item.title)
def test_a_query_asks_about_one_study(item: object) -> None:
    assert "study_id = {study}" in item.query  # type: ignore[attr-defined]
