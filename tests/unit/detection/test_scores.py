"""Everything that marks, judged in one frame."""

from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import polars as pl
import pytest

from lesionlens.config.evaluation import EvaluationConfig
from lesionlens.detection.froc import CURVE, READ
from lesionlens.detection.marks import CRITERIA, Lesions, Marks, lesions_of
from lesionlens.detection.outputs import painted
from lesionlens.detection.scores import BLOB, SWEEP, detection_scores, groups_of, mark_frame, mark_frames
from lesionlens.frames import FRAMES
from lesionlens.records import SampleArrays
from lesionlens.scoring.bootstrap import draw
from tests.unit.detection.films import drawn_lesions, drawn_marks, joined, marks_of, on_every

CLASSES = ("BENIGN", "MALIGNANT")
FILMS = 30


def shown(lesions: Lesions, ids: np.ndarray) -> pl.DataFrame:
    """The lesions as the record gives them; every second is a mass."""
    kinds = ["mass" if i % 2 else "calcification" for i in range(len(lesions.film))]
    columns = {"sample_id": ids[lesions.film], "lesion_type": kinds, "ordinal": lesions.labels}
    return pl.DataFrame(columns | {name: lesions.boxes[:, i] for i, name in enumerate(("x0", "y0", "x1", "y1"))})


def films(ids: np.ndarray) -> SampleArrays:
    count = len(ids)
    return SampleArrays(
        "f" * 64, CLASSES, ids, np.zeros((count, 100, 100), np.uint8), np.zeros((count, 25, 25), bool),
        np.zeros(count, np.int64), np.full(count, "test"), np.array([f"P{i}" for i in range(count)]),
        np.ones(count, bool), ("benign", "malignant"), (),
    )  # fmt: skip


def test_lesions_of_the_record_find_their_films() -> None:
    lesions, ids = drawn_lesions(FILMS, 2, seed=1), np.arange(FILMS) * 7 + 3
    chosen = np.array([4, 11, 2])
    found = lesions_of(shown(lesions, ids), ids[chosen])
    assert sorted(found.film.tolist()) == sorted(lesions.of_films(chosen).film.tolist())
    groups = groups_of(shown(lesions, ids), ids, CLASSES)
    assert list(groups) == ["all", *CLASSES, "calcification", "mass"]
    assert np.array_equal(groups["MALIGNANT"], lesions.labels == 1) and groups["all"].all()
    assert np.array_equal(groups["mass"], np.arange(len(lesions.film)) % 2 == 1)


def test_a_perfect_detector_beside_noise() -> None:
    lesions, ids = drawn_lesions(FILMS, 1, seed=2), np.arange(FILMS)
    clusters = draw(np.array([f"P{i}" for i in range(FILMS)]), 100, np.random.default_rng(0))
    both = on_every(lesions)
    twice = joined(both, Marks(both.film, both.boxes, both.scores / 3, 1 - both.labels))
    methods = {"boxes": twice, BLOB: drawn_marks(FILMS, 6, seed=3)}
    groups = groups_of(shown(lesions, ids), ids, CLASSES)
    frame = detection_scores(methods, lesions, groups, clusters, EvaluationConfig())
    assert frame.schema == pl.Schema(FRAMES["detections"])
    own = frame.filter(method="boxes")
    assert set(own.filter(measure="sensitivity")["value"]) == {1.0}
    curve = own.filter(measure="sensitivity", criterion="centre", group_name="all")
    assert curve["at"].to_list() == list(CURVE)
    others = own.filter(measure="sensitivity", criterion="iou_0.5", group_name="mass")
    assert others["at"].to_list() == list(READ)
    assert set(own.filter(measure="sensitivity")["criterion"]) == set(CRITERIA)
    assert own.filter(measure="average_precision")["value"].to_list() == [1.0, 1.0]
    assert own.filter(measure="class_auc")["value"].item() == 1.0
    (row,) = own.filter(measure="difference").to_dicts()
    noise = frame.filter(method=BLOB, measure="sensitivity", criterion="centre", group_name="all", at=1.0)
    assert row["value"] == pytest.approx(1 - noise["value"].item()) and row["low"] > 0
    assert not frame.filter(method=BLOB, measure="difference").height
    assert not frame.filter(method=BLOB, measure="class_auc").height


def test_labels_that_mean_nothing_give_an_auc_of_one_half() -> None:
    """The null: both labels' marks on every lesion, scores drawn without a look at its class."""
    lesions, generator = drawn_lesions(400, 2, seed=4), np.random.default_rng(5)
    count = len(lesions.film)
    parts = [Marks(lesions.film, lesions.boxes, generator.uniform(0.1, 1, count), np.full(count, i)) for i in (0, 1)]
    clusters = draw(np.array([f"P{i}" for i in range(400)]), 200, generator)
    frame = detection_scores({"boxes": joined(*parts)}, lesions, {}, clusters, EvaluationConfig())
    (row,) = frame.filter(measure="class_auc").to_dicts()
    assert row["low"] < 0.5 < row["high"] and abs(row["value"] - 0.5) < 0.08 and row["n"] == count


def test_marks_are_ranked_within_their_film() -> None:
    lesions, ids = drawn_lesions(FILMS, 2, seed=6), np.arange(FILMS) + 100
    marks = joined(drawn_marks(FILMS, 3, seed=7), on_every(lesions))
    frame = mark_frame({"boxes": marks}, films(ids), lesions)
    assert frame.schema == pl.Schema(FRAMES["marks"]) and len(frame) == len(marks.film)
    for _, rows in frame.group_by("sample_id"):
        assert rows["rank"].to_list() == list(range(1, len(rows) + 1))
        assert rows["score"].is_sorted(descending=True)
    assert frame.filter(pl.col("label").is_null()).height == 3 * FILMS
    assert frame["on_lesion"].sum() >= len(lesions.film) and not frame["strongest"].all()


def test_boxes_are_painted_with_their_highest_score() -> None:
    marks = marks_of([(0, (0, 0, 16, 8), 0.5), (0, (8, 0, 24, 16), 0.9), (1, (60, 60, 90, 90), 0.3)])
    maps = painted(marks, 3, (4, 4), 8)
    expected = np.float32([[0.5, 0.9, 0.9, 0], [0, 0.9, 0.9, 0], [0] * 4, [0] * 4])
    assert np.array_equal(maps[0], expected)
    assert not maps[1].any() and not maps[2].any()


def test_maps_of_a_classifier_stand_on_the_same_curve() -> None:
    """Its map at the lesions finds them; maps of noise do not; patches have no marks."""
    lesions, ids = drawn_lesions(FILMS, 1, seed=8), np.arange(FILMS)
    splits, grey = (
        np.array(["train"] * 10 + ["test"] * 20),
        np.random.default_rng(0).integers(0, 255, (FILMS, 100, 100)),
    )
    given = replace(films(ids), splits=splits, breasts=np.ones((FILMS, 25, 25), bool), pixels=grey.astype(np.uint8))
    chances = np.tile(np.float32([0.4, 0.6]), (20, 1))
    found = {}
    for name, grids in (("exact", painted(on_every(lesions), FILMS, (25, 25), 4)[10:]),
                        ("noise", np.random.default_rng(1).normal(size=(20, 25, 25)).astype(np.float32))):  # fmt: skip
        made = SimpleNamespace(method=name, grids=grids, target="predicted", is_reference=False, explained=None)
        beside = {"target": "true", "is_reference": True, "explained": np.zeros(20, bool)}
        maps = [made] + [SimpleNamespace(**vars(made) | {"method": f"not {k}", k: v}) for k, v in beside.items()]
        swept = {"method": SWEEP, "grids": abs(grids[::-1]), "target": "none", "is_reference": True}
        maps.append(SimpleNamespace(**vars(made) | swept))
        frames = mark_frames(given, shown(lesions, ids), None, maps, chances, EvaluationConfig(), 0)
        assert set(frames["marks"]["method"]) == {name, SWEEP, BLOB} and set(frames["marks"]["sample_id"]) <= set(
            range(10, 30)
        )
        read = frames["detections"].filter(method=name, measure="sensitivity", criterion="centre", group_name="all")
        found[name] = read.filter(at=1.0)["value"].item()
        # the sweep's maps here are those of other films: they find what chance finds
        swept = frames["detections"].filter(method=SWEEP, measure="difference")
        assert swept["low"].item() < 0.2 and swept["value"].item() < 0.3
    assert found["exact"] == 1.0 and found["noise"] < 0.5
    nothing = mark_frames(films(ids), None, None, maps, chances, EvaluationConfig(), 0)
    assert all(frame.is_empty() for frame in nothing.values())


def test_marks_do_not_depend_on_the_lesions_of_the_test_split() -> None:
    """Sides of boxes and distances between peaks are those of the training split's lesions, which do change them."""
    lesions, ids = drawn_lesions(FILMS, 1, seed=9), np.arange(FILMS)
    grey = np.random.default_rng(2).integers(0, 255, (FILMS, 100, 100)).astype(np.uint8)
    splits = np.array(["train"] * 10 + ["test"] * 20)
    given = replace(films(ids), splits=splits, breasts=np.ones((FILMS, 25, 25), bool), pixels=grey)
    kinds = {"target": "predicted", "is_reference": False, "explained": None}
    maps = [SimpleNamespace(method="own", grids=np.random.default_rng(3).normal(size=(20, 25, 25)), **kinds)]
    sure = np.tile(np.float32([0.4, 0.6]), (20, 1))

    def marks(larger: str) -> pl.DataFrame:
        sides = lesions.boxes.copy()
        sides[splits[lesions.film] == larger, 2:] += 12
        other = shown(Lesions(lesions.film, sides, lesions.labels), ids)
        return mark_frames(given, other, None, maps, sure, EvaluationConfig(resamples=100), 0)["marks"].drop(
            "on_lesion"
        )

    plain = marks("none")
    assert plain.equals(marks("test")) and not plain.equals(marks("train"))
