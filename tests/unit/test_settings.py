"""All state under one folder."""

from pathlib import Path

import pytest

from lesionlens.settings import Settings, home, settings


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


@pytest.mark.parametrize("text", ["http", "0", "65536", "-1"])
def test_a_wrong_port_is_named(text: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LESIONLENS_PORT", text)
    with pytest.raises(ValueError, match=r"^LESIONLENS_PORT: ") as wrong:
        settings()
    assert "\n" not in str(wrong.value)


def test_an_empty_variable_is_unset(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in Settings.model_fields:
        monkeypatch.setenv(f"LESIONLENS_{name.upper()}", "")
    found = settings()
    assert (found.port, found.data, found.weights, found.checkpoints, found.database_url) == (None,) * 5
    assert found.home.is_absolute()


def test_a_generic_variable_is_not_read(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("LESIONLENS_DATA", raising=False)
    monkeypatch.setenv("DATA", "/etc")
    assert settings().data is None


def test_a_password_does_not_show(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LESIONLENS_DATABASE_URL", "postgresql://ann:s3cret@host/record")
    assert "s3cret" not in repr(settings())
