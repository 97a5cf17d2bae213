"""Predictions and maps from files: read in the order wanted, refused with counts."""

from pathlib import Path

import numpy as np
import polars as pl
import pytest
from PIL import Image

from lesionlens.outputs import probabilities_of, read_maps, read_predictions

CLASSES = ("nodule", "normal")
NAMES = ("images/1.png#1", "images/2.png#1", "images/3.png@0,0,9,9")


def table(path: Path, names: tuple[str, ...] = NAMES, first: float = 0.25) -> Path:
    values = [first + 0.1 * n for n in range(len(names))]
    frame = pl.DataFrame({"normal": [1 - v for v in values], "sample": names, "nodule": values})
    frame.write_parquet(path) if path.suffix == ".parquet" else frame.write_csv(path, separator=";")
    return path


@pytest.mark.parametrize("name", ["p.csv", "p.parquet"])
def test_probabilities_come_in_the_order_of_samples_and_classes(tmp_path: Path, name: str) -> None:
    told = read_predictions(table(tmp_path / name), CLASSES)
    found = probabilities_of(told, tmp_path / name, NAMES[::-1][:2], NAMES)
    np.testing.assert_allclose(found, [[0.45, 0.55], [0.35, 0.65]], atol=1e-6)


@pytest.mark.parametrize(
    ("names", "first", "words"),
    [
        (NAMES[:1], 0.25, r"lacks 2 samples of 3.*first 'images/2.png#1'"),
        ((*NAMES, NAMES[1]), 0.25, r"names 1 sample twice"),
        ((*NAMES, "x"), 0.25, r"names 1 sample that the data do not give.*first 'x'"),
        (NAMES, 0.95, "no probabilities"),
    ],
)
def test_tables_that_do_not_fit_are_refused_with_counts(tmp_path: Path, names, first: float, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        told = read_predictions(table(tmp_path / "p.csv", names, first), CLASSES)
        probabilities_of(told, tmp_path / "p.csv", NAMES, NAMES)


def test_numbers_that_are_no_probabilities_are_refused(tmp_path: Path) -> None:
    (tmp_path / "p.csv").write_text("sample,nodule,normal\na,0.5,half\n")
    with pytest.raises(ValueError, match=r"line 2: .0\.5., .half."):
        read_predictions(tmp_path / "p.csv", CLASSES)


def write(folder: Path, name: str, values: np.ndarray) -> None:
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.suffix == ".png":
        Image.fromarray(values).save(path)
    else:
        np.save(path, values, allow_pickle=True)


def test_maps_of_both_kinds_are_read_and_fine_ones_averaged(tmp_path: Path) -> None:
    fine = np.zeros((112, 112), dtype=np.uint8)
    fine[:56, :56] = 200
    write(tmp_path, f"{NAMES[0]}.png", fine)
    write(tmp_path, f"{NAMES[1]}.npy", fine.astype(np.float64) / 2)
    found = read_maps(tmp_path, NAMES, set(NAMES[:2]), NAMES)
    assert found.shape == (3, 56, 56) and np.isnan(found[2]).all()
    np.testing.assert_array_equal(found[0, ::27, ::27], [[200, 200, 0], [200, 200, 0], [0, 0, 0]])
    np.testing.assert_array_equal(found[1] * 2, found[0])


@pytest.mark.parametrize(
    ("files", "words"),
    [
        ({f"{NAMES[0]}.npy": np.ones((4, 4))}, "lacks 1 sample of 2"),
        ({f"{n}.npy": np.ones((4, 4)) for n in (*NAMES, "other")}, "names 1 sample that the data do not give"),
        ({f"{NAMES[0]}.npy": np.ones((4, 4)), f"{NAMES[1]}.npy": np.ones((4, 5))}, r"several shapes \(4 x 4, 4 x 5\)"),
        ({f"{NAMES[0]}.npy": np.ones((4, 4)), f"{NAMES[0]}.png": np.ones((4, 4), np.uint8)}, "1 sample as .npy and as"),
        ({f"{n}.npy": np.array([{}, {}], dtype=object) for n in NAMES[:2]}, "no array of numbers"),
        ({f"{n}.npy": np.ones((4, 4, 3)) for n in NAMES[:2]}, r"\[4, 4, 3\], no map"),
    ],
)
def test_maps_that_do_not_fit_are_refused(tmp_path: Path, files: dict[str, np.ndarray], words: str) -> None:
    for name, values in files.items():
        write(tmp_path, name, values)
    with pytest.raises(ValueError, match=words):
        read_maps(tmp_path, NAMES, set(NAMES[:2]), NAMES)
