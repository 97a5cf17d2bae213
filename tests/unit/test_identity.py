"""Identity: equal content, equal digest; anything else differs."""

import subprocess
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lesionlens.config.training import RunConfig
from lesionlens.identity import bytes_digest, canonical, digest, file_name

JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**53), 2**53)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=5), inner, max_size=4),
    max_leaves=10,
)


@given(st.dictionaries(st.text(max_size=5), JSON, max_size=5))
def test_key_order_does_not_matter(value: dict[str, object]) -> None:
    assert digest(value) == digest(dict(reversed(value.items())))


@given(JSON, JSON)
def test_digest_differs_exactly_where_content_differs(left: object, right: object) -> None:
    assert (digest(left) == digest(right)) == (canonical(left) == canonical(right))


def test_parts_are_not_concatenated() -> None:
    assert digest("ab", "c") != digest("a", "bc")


def test_a_model_and_its_json_have_the_same_digest() -> None:
    run = RunConfig(backbone="resnet18", strategy="gradual")
    assert digest(run) == digest(run.model_dump(mode="json"))
    assert digest({"run": run}) == digest({"run": run.model_dump(mode="json")})


def test_nan_is_refused() -> None:
    with pytest.raises(ValueError, match="JSON"):
        digest(float("nan"))


def test_what_json_cannot_hold_is_refused() -> None:
    with pytest.raises(TypeError, match="set has no place in a digest"):
        digest({1, 2})


def test_digest_is_the_same_in_another_process() -> None:
    code = "from lesionlens.identity import digest; print(digest({'b': 1, 'a': [2.5, 'x']}))"
    other = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.strip()
    assert other == digest({"a": [2.5, "x"], "b": 1})


def test_bytes_digest_ignores_how_bytes_are_chunked() -> None:
    assert bytes_digest([b"ab", b"c"]) == bytes_digest([b"a", b"bc"])


@given(st.text(max_size=200))
def test_a_file_name_is_one_name_that_every_system_takes(text: str) -> None:
    name = file_name(text)
    assert 1 <= len(name.encode()) <= 60 and name[0] not in ".-"
    assert not set(name) & set("/\\\0\n :*?\"<>|'$`;&") and file_name(name) == name


@pytest.mark.parametrize(
    ("text", "name"),
    [("sound", "sound"), ("../../../escaped", "escaped"), ("CC/MLO 1.5 mm", "CC-MLO-1.5-mm"), ("界" * 80, "界" * 20),
     ("..", "unnamed"), ("~", "unnamed"), ("/etc/passwd", "etc-passwd"), ("ü日", "ü日")],
)  # fmt: skip
def test_what_a_file_name_keeps(text: str, name: str) -> None:
    assert file_name(text) == name
