"""All state under one folder."""

import os
import re
import subprocess
from pathlib import Path

import pytest

from lesionlens.settings import Settings, home, settings

ROOT = Path(__file__).resolve().parents[2]


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


@pytest.mark.parametrize(
    ("target", "variable"),
    [("study", "DATA"), ("fetch", "DATA"), ("fetch", "YES"), ("study", "PRESET"), ("fetch", "EDITION")],
)
def test_make_reads_its_own_command_line_and_not_the_shell(target: str, variable: str) -> None:
    def commands(*given: str, **shell: str) -> str:
        command = ["make", "--dry-run", target, *given]
        return subprocess.run(command, cwd=ROOT, env=os.environ | shell, capture_output=True, text=True).stdout

    value = "1" if variable == "YES" else "/etc/other"
    assert commands(**{variable: value}) == commands()
    assert commands(f"{variable}={value}") != commands()


def test_a_home_that_cannot_be_used_is_named_with_the_remedy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "file"
    file.touch()
    (tmp_path / "loop").symlink_to(tmp_path / "loop")
    for place in (file, file / "below", Path("/proc/x"), tmp_path / ("long" * 100), tmp_path / "loop"):
        monkeypatch.setenv("LESIONLENS_HOME", str(place))
        with pytest.raises(ValueError, match=f"^{re.escape(str(place))} .*LESIONLENS_HOME") as caught:
            home().ensure()
        assert "\n" not in str(caught.value)


def test_a_home_of_another_user_is_named_with_the_remedy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LESIONLENS_HOME", str(tmp_path))
    monkeypatch.setattr(os, "access", lambda path, mode: False)
    with pytest.raises(ValueError, match=r"another user's.*LESIONLENS_HOME"):
        home().ensure()


def test_a_user_without_a_home_is_told_to_name_one(monkeypatch: pytest.MonkeyPatch) -> None:
    """As in a container started with --user, whose HOME is unset or /."""
    monkeypatch.delenv("LESIONLENS_HOME", raising=False)
    monkeypatch.delenv("HOME")
    monkeypatch.delenv("XDG_DATA_HOME", raising=False)
    monkeypatch.setattr("os.geteuid", lambda: 2_000_000_123)
    monkeypatch.setattr("os.getuid", lambda: 2_000_000_123)
    with pytest.raises(ValueError, match="Name the folder of all state: LESIONLENS_HOME"):
        home()


def test_a_password_does_not_show(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LESIONLENS_DATABASE_URL", "postgresql://ann:s3cret@host/record")
    assert "s3cret" not in repr(settings())
