"""From an index to patches and exclusions, whole."""

import threading
from collections import Counter
from collections.abc import Callable, Iterable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from lesionlens.config.data import BackgroundConfig, SplitConfig
from lesionlens.config.study import StudyConfig
from lesionlens.datasets.cbis import read_kaggle as read_index
from lesionlens.records import Box, Exclusion, ImageSize, Overview, Sample
from lesionlens.samples import cutting
from lesionlens.samples.sample_set import Item, build_samples
from lesionlens.samples.splits import SplitCheck
from tests.unit.files import Kaggle, small_study


def run(root: Path, config: StudyConfig | None = None) -> tuple[list[Sample], list[Exclusion]]:
    items = list(build_samples(read_index(root), root, config or small_study(root)))
    return [i for i in items if isinstance(i, Sample)], [i for i in items if isinstance(i, Exclusion)]


def content(items: Iterable[Item]) -> list[object]:
    return [
        i if isinstance(i, Exclusion | ImageSize) else
        (i.image_key, i.pixels.tobytes()) if isinstance(i, Overview) else (
            i.key, i.label, i.split, i.window, i.lesion_box, i.mask_fraction, i.pixels.tobytes(),
            None if i.mask is None else i.mask.tobytes(),
        )
        for i in items
    ]  # fmt: skip


@pytest.mark.parametrize("rule", ["sound", "official", "paper"])
@pytest.mark.parametrize("per", ["lesion", "image"])
@pytest.mark.parametrize("component", ["all", "each"])
def test_every_lesion_has_patches_or_one_reason(phantom: Path, rule: str, per: str, component: str) -> None:
    config = small_study(
        phantom,
        patches={"size": 32, "per": per, "component": component},
        background=BackgroundConfig(size="matched", train=8, test=4, per_image=2),
        split={"rule": rule, "group": "patch" if rule == "paper" else "patient"},
    )
    index = read_index(phantom)
    patches, exclusions = run(phantom, config)
    cut = {p.lesion_key for p in patches if p.lesion_key}
    left_out = Counter(e.lesion_key for e in exclusions if e.lesion_key)
    assert cut.isdisjoint(left_out) and set(left_out.values()) <= {1}
    assert cut | set(left_out) == {lesion.key for lesion in index.lesions}
    assert len({p.key for p in patches}) == len(patches)
    assert Counter(p.split == "test" for p in patches if p.label == "B") == {False: 8, True: 4}
    for patch in patches:
        assert patch.pixels.shape == (32, 32) and patch.pixels.dtype == np.uint8
        if patch.lesion_key is None:
            assert patch.mask is None and patch.mask_fraction is None
        else:
            assert patch.mask is not None and patch.mask.any() and 0 < (patch.mask_fraction or 0) <= 1
            assert patch.mask.mean() == pytest.approx(patch.mask_fraction, abs=0.06)
    if rule == "sound":
        overlap = SplitCheck(index)
        for patch in patches:
            overlap.add(patch)
        assert {check.shared for check in overlap.leaks()} == {0}


def test_content_and_order_do_not_depend_on_processes(phantom: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also from a thread that is not the main one, as tasks run in."""
    index, found = read_index(phantom), {}
    options = {"background": BackgroundConfig(size="matched", train=9, test=4), "patches": {"size": 32, "jitter": 1}}

    def build(workers: int, seed: int = 0) -> None:
        monkeypatch.setenv("LESIONLENS_WORKERS", str(workers))
        study = small_study(phantom, seed=seed, **options)
        found[workers, seed] = content(build_samples(index, phantom, study))

    build(1)
    build(1, seed=1)
    thread = threading.Thread(target=build, args=(2,))
    thread.start()
    thread.join()
    assert found[2, 0] == found[1, 0] != found[1, 1]


def test_a_caller_may_stop_early(phantom: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LESIONLENS_WORKERS", "2")
    items = build_samples(read_index(phantom), phantom, small_study(phantom))
    while not isinstance(next(items), Sample):
        pass
    items.close()


def test_each_file_is_decoded_once_and_progress_ends_whole(kaggle: Kaggle, monkeypatch: pytest.MonkeyPatch) -> None:
    kaggle.case("P_00001", boxes=((60, 80, 100, 110), (20, 150, 50, 190), (120, 200, 150, 230)))
    kaggle.case("P_00002", pathology="BENIGN_WITHOUT_CALLBACK")
    kaggle.case("P_00003", pathology="BENIGN_WITHOUT_CALLBACK", split="test")
    root = kaggle.finish()
    index, seen = read_index(root), list[str]()

    def counted(read: Callable[[Path, str], object]) -> Callable[[Path, str], object]:
        def wrapped(root: Path, path: str) -> object:
            seen.append(path)
            return read(root, path)

        return wrapped

    for name in ("read_image", "read_mask"):
        monkeypatch.setattr(cutting, name, counted(getattr(cutting, name)))
    reports: list[tuple[int, int]] = []
    items = list(build_samples(index, root, small_study(root), lambda done, total: reports.append((done, total))))
    assert len(seen) == len(set(seen)) == 4 + 2 + 2
    assert reports[0] == (0, 3) and reports[-1] == (3, 3) and reports == sorted(reports)
    assert sum(isinstance(item, Sample) for item in items) == 5


def test_two_rois_and_one_at_the_border(kaggle: Kaggle) -> None:
    key = kaggle.case("P_00001", boxes=((60, 80, 100, 110), (170, 0, 200, 30)))
    patches, exclusions = run(kaggle.finish())
    windows = {p.lesion_key: (p.window, p.lesion_box) for p in patches}
    assert windows == {
        f"{key}_1": (Box(20, 50, 140, 140), Box(60, 80, 100, 110)),
        f"{key}_2": (Box(140, 0, 200, 60), Box(170, 0, 200, 30)),
    }
    assert exclusions == []


def test_spoilt_pictures_cost_their_own_sample_only(kaggle: Kaggle) -> None:
    names = ("whole", "truncated", "zero", "empty", "scaled", "skewed", "specks", "image")
    keys = {name: kaggle.case(f"P_{n:05d}") for n, name in enumerate(names)}
    mask = np.asarray(Image.open(kaggle.mask_path(keys["whole"])))
    root = kaggle.finish()
    whole = kaggle.mask_path(keys["truncated"]).read_bytes()
    kaggle.mask_path(keys["truncated"]).write_bytes(whole[: len(whole) // 2])
    kaggle.mask_path(keys["zero"]).write_bytes(b"")
    kaggle.full_path(keys["image"]).write_bytes(b"\xff\xd8\xff")
    spoilt = {
        "empty": np.zeros_like(mask),
        "scaled": np.asarray(Image.fromarray(mask).resize((100, 150), Image.Resampling.NEAREST)),
        "skewed": np.asarray(Image.fromarray(mask).resize((100, 180), Image.Resampling.NEAREST)),
        "specks": mask.copy(),
    }
    spoilt["specks"][5, 5] = spoilt["specks"][290, 190] = 255
    for name, pixels in spoilt.items():
        Image.fromarray(pixels).save(kaggle.mask_path(keys[name]))
    patches, exclusions = run(root)
    found = {p.lesion_key: p for p in patches}
    assert set(found) == {f"{keys[name]}_1" for name in ("whole", "scaled", "specks")}
    assert found[f"{keys['specks']}_1"].window == found[f"{keys['whole']}_1"].window
    reasons = {e.lesion_key: e.reason for e in exclusions if e.lesion_key}
    assert reasons == {
        f"{keys['truncated']}_1": "mask_unreadable",
        f"{keys['zero']}_1": "mask_unreadable",
        f"{keys['empty']}_1": "empty_mask",
        f"{keys['skewed']}_1": "mask_shape",
        f"{keys['image']}_1": "image_unreadable",
    }
    notes = [e for e in exclusions if e.lesion_key is None]
    assert [(e.image_key, e.reason) for e in notes] == [(keys["scaled"], "mask_resized")]
    assert "mask 100 x 150 brought to 200 x 300" in notes[0].detail


def test_the_studys_rule_names_what_it_leaves_out(kaggle: Kaggle) -> None:
    first = kaggle.case("P_00001", boxes=((60, 80, 100, 110), (20, 150, 50, 190)))
    other = kaggle.case("P_00001", view="MLO", pathology="BENIGN")
    free = kaggle.case("P_00002", pathology="BENIGN_WITHOUT_CALLBACK")
    after = kaggle.case("P_00002", pathology="BENIGN", view="MLO")
    test = kaggle.case("P_00003", kind="calc", split="test")
    study = small_study(kaggle.finish(), patches={"size": 32, "per": "image"}, split=SplitConfig(rule="paper"))
    patches, exclusions = run(kaggle.root, study)
    assert [(p.key, p.label) for p in patches if p.lesion_key] == [(f"{first}_2", "MM"), (f"{other}_1", "MM")]
    assert {e.lesion_key: e.reason for e in exclusions if e.lesion_key} == {
        f"{first}_1": "overwritten",
        f"{free}_1": "no_target_class",
        f"{after}_1": "class_of_first_row",
        f"{test}_1": "split_left_out",
    }


def test_background_comes_from_callback_free_images_alone_and_a_shortage_is_noted(
    kaggle: Kaggle, caplog: pytest.LogCaptureFixture
) -> None:
    free = kaggle.case("P_00001", pathology="BENIGN_WITHOUT_CALLBACK", split="test")
    kaggle.case("P_00002", pathology="BENIGN_WITHOUT_CALLBACK", split="test")
    twin = kaggle.case("P_00002", kind="calc", split="test")  # the same mammogram with a lesion
    hidden = kaggle.case("P_00003", pathology="BENIGN_WITHOUT_CALLBACK", split="test")
    lesion = kaggle.case("P_00004")
    root = kaggle.finish()
    kaggle.mask_path(hidden).write_bytes(b"")
    background = BackgroundConfig(size=40, train=1, test=9, per_image=3)
    patches, exclusions = run(root, small_study(root, background=background))
    windows = [p for p in patches if p.label == "B"]
    assert {p.image_key for p in windows} == {free} and len(windows) == 3
    masked = np.asarray(Image.open(kaggle.mask_path(free))) > 127
    for patch in windows:
        box = patch.window
        assert not masked[box.y0 : box.y1, box.x0 : box.x1].any() and patch.split == "test"
    notes = {(e.image_key, e.reason) for e in exclusions if e.lesion_key is None}
    assert notes == {(free, "background_short"), (hidden, "background_unreadable"), (twin, "same_view")}
    assert "split test: 3 windows of 9 wanted" in caplog.text
    assert {p.image_key for p in patches if p.label != "B"} >= {lesion}


def test_matched_background_has_the_training_lesions_sizes(phantom: Path) -> None:
    patches, _ = run(phantom, small_study(phantom, background=BackgroundConfig(size="matched", train=10, test=6)))
    sizes = {(p.window.width, p.window.height) for p in patches if p.lesion_key and p.split != "test"}
    assert {(p.window.width, p.window.height) for p in patches if not p.lesion_key} <= sizes


def test_components_of_one_lesion_are_patches_of_their_own(kaggle: Kaggle) -> None:
    key = kaggle.case("P_00001")
    mask = np.zeros((300, 200), np.uint8)
    mask[50:90, 50:90] = mask[200:230, 100:130] = 255
    Image.fromarray(mask).save(kaggle.mask_path(key))
    root = kaggle.finish()
    patches, _ = run(root, small_study(root, patches={"size": 32, "component": "each"}))
    assert [(p.key, p.lesion_box, p.lesion_key) for p in patches] == [
        (f"{key}_1#1", Box(50, 50, 90, 90), f"{key}_1"),
        (f"{key}_1#2", Box(100, 200, 130, 230), f"{key}_1"),
    ]
    (whole,), _ = run(root)
    assert whole.lesion_box == Box(50, 50, 130, 230)
    wide, _ = run(root, small_study(root, patches={"size": 32, "component": "each", "context": 10}))
    assert [p.window for p in wide] == [Box(0, 0, 200, 270), Box(0, 65, 200, 300)]
    assert [p.mask_fraction for p in wide] == [2500 / (200 * 270), (40 * 25 + 900) / (200 * 235)]  # of both components


@pytest.mark.parametrize("per", ["image", "lesion"])
def test_a_breast_with_one_view_only_is_as_good_as_any(kaggle: Kaggle, per: str) -> None:
    alone = kaggle.case("P_00001", view="MLO")
    both = [kaggle.case("P_00002", view=view, side="RIGHT") for view in ("CC", "MLO")]
    root = kaggle.finish()
    patches, exclusions = run(root, small_study(root, patches={"size": 32, "per": per}))
    assert [p.lesion_key for p in patches] == [f"{key}_1" for key in (alone, *both)]
    assert [e for e in exclusions if e.lesion_key] == []
