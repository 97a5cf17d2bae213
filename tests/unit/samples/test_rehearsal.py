"""A data set looked through before a study: counts, exclusions, the size that follows from lesions, pictures."""

from pathlib import Path

import numpy as np
import pytest

from lesionlens.datasets.registry import read_index
from lesionlens.records import SPLITS, Sample
from lesionlens.samples.rehearsal import SHOWN, contact_sheet, rehearse, size_for, split_table
from lesionlens.samples.sample_set import build_samples
from tests.unit.files import small_study


def test_a_rehearsal_counts_what_a_study_would_cut(phantom: Path, one_process: None) -> None:
    config = small_study(phantom)
    index = read_index(config.data, phantom)
    found = rehearse(index, phantom, config)
    samples = [item for item in build_samples(index, phantom, config) if isinstance(item, Sample)]
    for split in SPLITS:
        assert found.of_split(split) == sum(sample.split == split for sample in samples)
    lesions = [sample for sample in samples if sample.lesion_key is not None]
    assert len(found.windows) == len(lesions)
    assert found.windows.max() == max(max(s.window.width, s.window.height) for s in lesions)
    assert len(found.shown) == SHOWN and {s.label for s in found.shown} == {label.code for label in index.labels}
    assert split_table(found)[-1] == ("all", *(str(found.of_split(split)) for split in SPLITS))


def test_what_a_study_would_refuse_is_the_fault(phantom: Path, one_process: None) -> None:
    config = small_study(phantom)
    index = read_index(config.data, phantom)
    assert "image_missing" not in (rehearse(index, phantom, config).fault or "")
    moved = phantom.with_name("emptied")
    moved.mkdir()
    fault = rehearse(index, moved, config).fault
    assert fault is not None and "image_missing" in fault


@pytest.mark.parametrize(("side", "size"), [(20, 64), (100, 96), (140, 128), (900, 224)])
def test_the_size_is_near_the_median_window(side: float, size: int) -> None:
    assert size_for(np.array([side - 1, side, side + 500])) == size
    with pytest.raises(ValueError, match="no lesion"):
        size_for(np.array([]))


def test_the_contact_sheet_outlines_annotations(phantom: Path, one_process: None) -> None:
    config = small_study(phantom)
    index = read_index(config.data, phantom)
    shown = rehearse(index, phantom, config).shown
    names = {label.code: label.name for label in index.labels}
    with_mask, without = ([s for s in shown if (s.mask is not None) is marked][:1] for marked in (True, False))
    colours = [np.ptp(np.asarray(contact_sheet(s, names)).astype(int), axis=2).max() for s in (with_mask, without)]
    assert colours[0] > 100 and colours[1] == 0
    assert contact_sheet(shown, names).size == (1000, 460)
