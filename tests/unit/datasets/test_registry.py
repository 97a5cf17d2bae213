"""What lies in a folder is found out from its files."""

from pathlib import Path

import pytest
from pydantic import ValidationError

from lesionlens.config.data import DataConfig
from lesionlens.config.presets import demo, paper, sound
from lesionlens.config.study import StudyConfig
from lesionlens.datasets.registry import read_index, resolve_source
from tests.unit.files import Own


def test_a_deployment_takes_whatever_folder_it_is_given(own: Own, phantom: Path) -> None:
    own.add("cyst", "p1")
    own.add("nodule", "p2")
    manifest = own.finish()
    assert resolve_source(sound(manifest)).data == DataConfig(source="manifest", root=manifest)
    assert resolve_source(sound(phantom)).data == DataConfig(source="cbis_kaggle", root=phantom)
    assert {label.code for label in read_index(sound(manifest).data, manifest).labels} == {"cyst", "nodule"}
    assert resolve_source(demo()) == demo()


def test_the_published_test_part_is_refused_for_other_data(own: Own) -> None:
    own.add("cyst", "p1")
    with pytest.raises(ValidationError, match="paper is about CBIS-DDSM"):
        resolve_source(paper(own.finish()))


def test_a_folder_of_something_else_is_named(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"holds neither manifest\.csv"):
        resolve_source(StudyConfig(data=DataConfig(root=tmp_path)))


def test_what_is_wrong_with_a_data_set_is_said_also_where_it_is_recognised(tmp_path: Path) -> None:
    """Two data sets, or pictures on another disk: not "nothing is here"."""
    data = DataConfig(root=tmp_path / "data")
    for name in ("data/csv", "pictures"):
        (tmp_path / name).mkdir(parents=True)
    (tmp_path / "data/jpeg").symlink_to(tmp_path / "pictures")
    with pytest.raises(ValueError, match="jpeg is a link that leaves"):
        read_index(data, tmp_path / "data")
    for name in ("a/csv", "a/jpeg", "b/csv", "b/jpeg"):
        (tmp_path / "both" / name).mkdir(parents=True)
    with pytest.raises(ValueError, match="holds 2 data sets"):
        read_index(data, tmp_path / "both")
