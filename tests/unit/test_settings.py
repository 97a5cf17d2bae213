"""All state under one folder."""

from pathlib import Path

import pytest

from lesionlens.settings import home


def test_the_variable_moves_everything(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LESIONLENS_HOME", str(tmp_path / "state"))
    found = home()
    for folder in (found.record, found.cache, found.checkpoints, found.reports, found.prefect, found.phantom):
        assert folder.parent == tmp_path / "state"
    assert not (tmp_path / "state").exists()
    assert found.ensure().root.stat().st_mode & 0o777 == 0o700


def test_root_keeps_state_out_of_its_home(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("LESIONLENS_HOME", raising=False)
    monkeypatch.setattr("os.geteuid", lambda: 0)
    assert home().root == Path("/var/lib/lesionlens")


def test_a_user_keeps_state_in_the_users_data_folder(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv("LESIONLENS_HOME", raising=False)
    monkeypatch.setattr("os.geteuid", lambda: 1000)
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path))
    assert home().root == tmp_path / "lesionlens"
