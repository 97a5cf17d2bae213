"""Data sets and sample sets come back as they were written."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from sqlalchemy import Connection, text

from db import datasets
from db.queries import arrays
from lesionlens.records import SampleArrays, ShownLesion
from tests.record.makers import Filled, make_index, make_patches, save_patches


def test_samples_come_back_bit_for_bit(empty: Connection) -> None:
    found = arrays.load_samples(empty, save_patches(empty))
    given = make_patches()
    assert isinstance(found, SampleArrays)
    assert found.classes == ("B", "BM", "MM")
    assert found.groups == ("background", "mass", "mass")
    assert (np.diff(found.ids) > 0).all()
    assert found.labels.tolist() == [n % 3 for n in range(12)]
    for n, patch in enumerate(given):
        assert (found.pixels[n] == patch.pixels).all()
        assert found.splits[n] == patch.split
        assert found.patients[n] == patch.patient
        assert found.has_mask[n] == (patch.mask is not None)
        assert (found.masks[n] == (patch.mask if patch.mask is not None else False)).all()
    assert [(s.label, s.mean, s.std) for s in found.statistics] == [(None, 0.4, 0.2), ("MM", 0.5, 0.25)]


def test_a_data_set_is_known_by_its_content_wherever_it_lies(connection: Connection) -> None:
    first = datasets.save_dataset(connection, make_index(), "/elsewhere")
    assert datasets.save_dataset(connection, make_index(13), "/elsewhere") != first
    roots = connection.execute(text("SELECT id, root FROM dataset ORDER BY id")).all()
    assert roots[0] == (first, "/elsewhere") and len(roots) == 2


@pytest.mark.parametrize("kind", ["class", "image", "patient", "lesion"])
def test_a_name_too_long_for_an_index_is_told(kind: str, empty: Connection) -> None:
    """Random letters: an index stores what repeats in less."""
    letters = "".join(map(chr, np.random.default_rng(0).integers(0x4E00, 0x9FFF, 1500)))
    index = make_index()
    images, lesions, labels = list(index.images), list(index.lesions), list(index.labels)
    if kind == "class":
        labels.append(replace(labels[0], code=letters, ordinal=len(labels)))
    elif kind == "lesion":
        lesions[0] = replace(lesions[0], key=letters)
    else:
        images.append(replace(images[0], **{"key": "extra", "key" if kind == "image" else "patient": letters}))
    long = replace(index, images=tuple(images), lesions=tuple(lesions), labels=tuple(labels), digest="of long names")
    with pytest.raises(ValueError, match=f"the {kind} '{letters[:40]}'.* has 4500 bytes") as told:
        datasets.save_dataset(empty, long, "/data")
    assert not isinstance(told.value, UnicodeError) and "\n" not in str(told.value)


def test_a_name_as_long_as_is_taken_is_kept(empty: Connection) -> None:
    letters = "".join(map(chr, np.random.default_rng(0).integers(0x4E00, 0x9FFF, datasets.LONGEST // 3)))
    index = make_index()
    label = replace(index.labels[0], code=letters, ordinal=len(index.labels))
    image = replace(index.images[0], key=letters, patient=letters)
    long = replace(index, images=(*index.images, image), labels=(*index.labels, label), digest="of long names")
    found = datasets.save_dataset(empty, long, "/data")
    kept = empty.scalar(
        text("SELECT patient FROM image WHERE dataset_id = :id AND key = :key"), {"id": found, "key": letters}
    )
    assert kept == letters


def test_a_sample_set_is_found_once_it_is_closed_and_begun_anew_before(empty: Connection) -> None:
    dataset = datasets.save_dataset(empty, make_index(), "/data")
    killed = datasets.open_sample_set(empty, dataset, "d", {}, (16, 16, 1))
    datasets.SampleWriter(empty, dataset, killed).add(empty, make_patches()[:5])
    assert datasets.find_sample_set(empty, "d") is None
    again = datasets.open_sample_set(empty, dataset, "d", {}, (16, 16, 1))
    assert empty.scalar(text("SELECT count(*) FROM sample")) == 0
    writer = datasets.SampleWriter(empty, dataset, again)
    writer.add(empty, make_patches())
    writer.close(empty, (), ())
    assert datasets.find_sample_set(empty, "d") == again != killed
    assert datasets.sample_set_digest(empty, again) == "d"


def test_samples_that_do_not_fit_their_set_are_refused(empty: Connection) -> None:
    dataset = datasets.save_dataset(empty, make_index(), "/data")
    writer = datasets.SampleWriter(empty, dataset, datasets.open_sample_set(empty, dataset, "d", {}, (16, 16, 1)))
    patch = make_patches()[1]
    with pytest.raises(ValueError, match=r"sample 1: mask is \(8, 8\)"), empty.begin_nested():
        writer.add(empty, [replace(patch, mask=np.ones((8, 8), dtype=np.bool_))])
    with pytest.raises(KeyError, match="nowhere"):
        writer.add(empty, [replace(patch, image_key="nowhere")])


def test_attributes_of_every_sample(connection: Connection, filled: Filled) -> None:
    found = arrays.sample_attributes(connection, filled.sample_set)
    samples = arrays.load_samples(connection, filled.sample_set)
    assert found["sample_id"].to_list() == samples.ids.tolist()
    assert (found["pathology"].is_null().to_numpy() == ~samples.has_mask).all()
    assert set(found["window_width"]) == {100} and set(found["view"]) == {"CC"}


def test_unknown_sets_are_named(empty: Connection) -> None:
    with pytest.raises(ValueError, match="no sample set 999"):
        arrays.load_samples(empty, 999)


def test_films_come_back_with_their_breasts_and_lesions(
    empty: Connection, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LESIONLENS_HOME", str(tmp_path))
    dataset = datasets.save_dataset(empty, make_index(), "/data")
    opened = datasets.open_sample_set(empty, dataset, "films", {}, (24, 16, 4))
    writer = datasets.SampleWriter(empty, dataset, opened)
    pixels = np.zeros((3, 24, 16), dtype=np.uint8)
    pixels[:, 4:20, :9] = np.random.default_rng(0).integers(50, 200, (3, 16, 9))
    mask, breast = np.zeros((6, 4), dtype=np.bool_), np.ones((6, 4), dtype=np.bool_)
    mask[2:4, 1], breast[:, 3] = True, False
    given = [
        replace(
            made, key=f"film {n}", pixels=pixels[n], mask=mask if n else None, breast=breast,
            lesions=(ShownLesion(f"lesion {n}", (4.0, 8.5, 8.0, 16.0)),) if n else (),
        )
        for n, made in enumerate(make_patches()[:3])
    ]  # fmt: skip
    writer.add(empty, given)
    writer.close(empty, (), ())
    found = arrays.load_samples(empty, opened)
    np.testing.assert_array_equal(found.pixels, pixels)
    assert isinstance(found.pixels, np.memmap) and found.scale == 4 and found.breasts is not None
    np.testing.assert_array_equal(found.masks, [mask & False, mask, mask])
    np.testing.assert_array_equal(found.breasts, [breast] * 3)
    shown = arrays.shown_lesions(empty, opened)
    assert shown.rows() == [(int(found.ids[n]), f"lesion {n}", "mass", n, 4.0, 8.5, 8.0, 16.0) for n in (1, 2)]
    assert found.split("train").breasts is not None and not arrays.shown_lesions(empty, -1).height
    with pytest.raises(ValueError, match="mask is"):
        writer.add(empty, [replace(given[1], mask=np.ones((24, 16), dtype=np.bool_))])
