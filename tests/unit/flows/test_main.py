"""The command line, as far as it answers before a server is started."""

import pytest

from flows import __main__ as command
from flows import server


@pytest.mark.parametrize("arguments", [["demo"], ["compare", "1"]])
def test_a_record_out_of_reach_is_told_in_one_line_before_anything_starts(
    arguments: list[str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("LESIONLENS_DATABASE_URL", "postgresql://ann:s3cret@127.0.0.1:1/record")
    monkeypatch.setattr(server, "running_server", None)  # whoever starts one fails
    assert command.main(arguments) == 2
    said = capsys.readouterr().err
    assert said.startswith("lesionlens: the record cannot be reached or used: ")
    assert "127.0.0.1" in said and said.count("\n") == 1 and "s3cret" not in said
