"""What Prefect's processes find in their environment, whatever the shell holds for others."""

import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

import certifi
import httpx
import pytest

from flows.environment import ServerError, enter, environment, login
from flows.serve import _temporary
from lesionlens.settings import Home

READ = """
import json
from prefect.settings import get_current_settings
found = get_current_settings()
print(json.dumps({
    "url": found.api.url, "key": found.api.key.get_secret_value(),
    "client": found.api.auth_string.get_secret_value(), "server": found.server.api.auth_string.get_secret_value(),
    "base path": found.server.api.base_path, "csrf": found.server.api.csrf_protection_enabled,
    "origins": found.server.api.cors_allowed_origins, "headers": found.client.custom_headers,
    "interface": found.server.ui.api_url, "profile": found.profiles_path.name, "database": found.server.database.name,
    "ephemeral": found.server.ephemeral.enabled, "certificates": found.api.ssl_cert_file,
}))
"""
OTHERS = {
    "PREFECT_API_URL": "https://prefect.example/api",
    "PREFECT_API_KEY": "pnu_1",
    "PREFECT_API_AUTH_STRING": "admin:pass",
    "PREFECT_SERVER_API_AUTH_STRING": "admin:pass",
    "PREFECT_SERVER_API_BASE_PATH": "/v2api",
    "PREFECT_SERVER_CSRF_PROTECTION_ENABLED": "true",
    "PREFECT_SERVER_CORS_ALLOWED_ORIGINS": "*",
    "PREFECT_UI_API_URL": "https://prefect.example/api",
    "PREFECT_SERVER_EPHEMERAL_ENABLED": "true",
    "PREFECT_API_SSL_CERT_FILE": "/none",
}
ONLY_SHELL = {
    "PREFECT_CLIENT_CUSTOM_HEADERS": '{"Authorization": "Bearer other"}',
    "prefect_api_url": "https://lower.example/api",
    "PREFECT_PROFILE": "other",
    "PREFECT_PROFILES_PATH": "/none/profiles.toml",
    "PREFECT_SERVER_DATABASE_NAME": "production",
    "SSL_CERT_FILE": "/none",
}
PROXIES = ("socks5://127.0.0.1:1080", "socks://127.0.0.1:1080/", "socks4a://x:1", "ftp://x", "http://h:port",
           "http://[::1")  # fmt: skip
NO_PROXIES = ("[::1]", "fe80::/10", "host:port", "127.0.0.1:*", "ünï.de", "*")


@pytest.fixture
def place(tmp_path: Path) -> Home:
    return Home(tmp_path / "home").ensure()


def test_prefect_reads_this_homes_settings_whatever_shell_profile_and_files_say(place: Home, tmp_path: Path) -> None:
    elsewhere = tmp_path / "elsewhere"
    (elsewhere / ".prefect").mkdir(parents=True)
    lines = [f"{name}='{value}'" for name, value in OTHERS.items()]
    (elsewhere / ".env").write_text("\n".join([*lines, "PREFECT_PROFILES_PATH=.prefect/profiles.toml"]))
    profile = "\n".join(f"{name} = '{value}'" for name, value in OTHERS.items())
    (elsewhere / ".prefect/profiles.toml").write_text(f'active = "other"\n[profiles.other]\n{profile}\n')
    (elsewhere / "prefect.toml").write_text('[server.api]\nauth_string = "a:b"\nbase_path = "/v2"\n')
    code = f"""
import os
os.environ |= {OTHERS | ONLY_SHELL | {"HOME": str(elsewhere)}!r}
from pathlib import Path
from flows.environment import enter, environment
from lesionlens.settings import Home
enter(environment(Home(Path({str(place.root)!r})), 4321))
{READ}"""
    done = subprocess.run([sys.executable, "-c", code], cwd=elsewhere, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout) == {
        "url": "http://127.0.0.1:4321/api", "key": "", "client": login(place), "server": login(place), "base path": "",
        "csrf": False, "origins": "http://127.0.0.1:4321,http://localhost:4321", "headers": {},
        "interface": "http://127.0.0.1:4321/api", "profile": "profiles.toml", "database": None, "ephemeral": False,
        "certificates": "",
    }  # fmt: skip


@pytest.mark.parametrize("name", ["ALL_PROXY", "all_proxy", "HTTP_PROXY", "http_proxy", "HTTPS_PROXY"])
@pytest.mark.parametrize("value", PROXIES)
def test_a_proxy_that_nothing_here_can_use_ends_no_study(
    name: str, value: str, place: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(name, value)
    with pytest.raises((ImportError, ValueError, httpx.InvalidURL)):
        httpx.Client(verify=False)
    found = environment(place, 4200)
    assert name not in found
    monkeypatch.setattr(os, "environ", dict(os.environ))
    monkeypatch.delenv(name)
    httpx.Client(verify=False).close()


def test_a_proxy_that_can_be_used_stays(place: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    """Weights may have to come through it."""
    for name in ("HTTP_PROXY", "https_proxy"):
        monkeypatch.setenv(name, "proxy.example:3128")
    found = environment(place, 4200)
    assert found["HTTP_PROXY"] == found["https_proxy"] == "proxy.example:3128"


@pytest.mark.parametrize("name", ["NO_PROXY", "no_proxy"])
@pytest.mark.parametrize("value", NO_PROXIES)
def test_this_machine_is_reached_without_a_proxy_however_others_are_named(
    name: str, value: str, place: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(name, f"{value}, .intern.example")
    found = environment(place, 4200)
    monkeypatch.setattr(os, "environ", found | {"HTTP_PROXY": "http://127.0.0.1:1"})
    assert {"127.0.0.1", "localhost", ".intern.example"} <= set(found["no_proxy"].split(","))
    with httpx.Client(verify=False) as client, pytest.raises(httpx.ConnectError):
        client.get("http://127.0.0.1:2", timeout=5)
        assert client._transport_for_url(httpx.URL("http://127.0.0.1:2")) is client._transport


def test_certificates_that_are_none_are_left_out(place: Home, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "damaged.pem").write_text("-----BEGIN")
    for file in (tmp_path / "none.pem", tmp_path / "damaged.pem"):
        monkeypatch.setenv("SSL_CERT_FILE", str(file))
        with pytest.raises(OSError):
            httpx.Client()
        assert "SSL_CERT_FILE" not in environment(place, 4200)
    monkeypatch.setenv("SSL_CERT_FILE", certifi.where())
    assert environment(place, 4200)["SSL_CERT_FILE"] == certifi.where()


@pytest.mark.parametrize("name", ["UVICORN_ROOT_PATH", "UVICORN_UDS", "WEB_CONCURRENCY", "PYTHONIOENCODING"])
def test_settings_of_another_server_stay_with_it(name: str, place: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(name, "4")
    assert name not in environment(place, 4200)


def test_a_level_of_logging_that_is_none_is_named(place: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PREFECT_LOGGING_LEVEL", "debug")
    assert environment(place, 4200)["PREFECT_LOGGING_LEVEL"] == "debug"
    monkeypatch.setenv("PREFECT_LOGGING_LEVEL", "loud")
    with pytest.raises(ServerError, match="PREFECT_LOGGING_LEVEL is 'loud', not one of DEBUG"):
        environment(place, 4200)


def test_processes_find_room_for_their_sockets_however_long_the_home(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Those of the worker and of a study in a terminal."""
    long = tmp_path / ("long" * 20)
    long.mkdir()
    place = Home(long).ensure()
    folder = _temporary(place)
    assert folder == _temporary(place) != _temporary(Home(long / "other")) and folder.stat().st_mode & 0o777 == 0o700
    monkeypatch.setenv("TMPDIR", str(long))
    monkeypatch.setattr(os, "environ", dict(os.environ))
    monkeypatch.setattr("tempfile.tempdir", str(long))
    assert "TMPDIR" not in environment(place, 4200)
    code = "from multiprocessing.connection import Listener; Listener(family='AF_UNIX').close()"

    def made(variables: dict[str, str]) -> bool:
        return subprocess.run([sys.executable, "-c", code], env=variables, capture_output=True).returncode == 0

    assert not made(environment(place, 4200) | {"TMPDIR": str(long)}), "as it was"
    assert made(environment(place, 4200)) and made(environment(place, 4200) | {"TMPDIR": str(folder)})
    enter(environment(place, 4200))
    assert tempfile.gettempdir() != str(long)
    for made_here in (folder, _temporary(Home(long / "other"))):
        made_here.rmdir()


def test_what_was_entered_is_all_there_is(place: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "environ", dict(os.environ))
    monkeypatch.setenv("PREFECT_API_KEY", "pnu_1")
    wanted = environment(place, 4200)
    enter(wanted)
    assert os.environ == wanted == environment(place, 4200)


def test_a_file_of_the_home_adds_settings(place: Home) -> None:
    """Server and worker work beside it."""
    variables = environment(place, 4321)
    (place.prefect / "prefect.toml").write_text('[server.database]\nname = "own"\n[server.api]\nbase_path = "/v2"\n')
    done = subprocess.run(
        [sys.executable, "-c", READ], cwd=place.prefect, env=variables, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert (found["database"], found["base path"]) == ("own", "")


def test_a_user_without_a_home_gets_that_of_the_state(place: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    """Prefect asks for it when it is imported."""
    monkeypatch.delenv("HOME")
    monkeypatch.setattr("pwd.getpwuid", lambda number: {}[number])
    assert environment(place, 4200)["HOME"] == str(place.root)


def test_the_data_folder_is_absolute(place: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    """The worker works elsewhere."""
    monkeypatch.setenv("LESIONLENS_DATA", "~/cbis")
    assert environment(place, 4200)["LESIONLENS_DATA"] == str(Path.home() / "cbis")


def test_a_login_is_made_once_and_for_its_user_only(place: Home, tmp_path: Path) -> None:
    found = login(place)
    user, _, secret = found.partition(":")
    assert user == "lesionlens" and len(secret) >= 32
    assert login(place) == found != login(Home(tmp_path / "another"))
    path = place.prefect / "login"
    assert path.stat().st_mode & 0o777 == 0o600
    path.chmod(0o644)
    with pytest.raises(ServerError, match="open to other users"):
        login(place)


def test_a_login_planted_as_a_link_is_not_followed(place: Home, tmp_path: Path) -> None:
    (tmp_path / "mine").touch(mode=0o600)
    place.prefect.mkdir()
    (place.prefect / "login").symlink_to(tmp_path / "mine")
    with pytest.raises(OSError):
        login(place)
    assert (tmp_path / "mine").read_text() == ""
