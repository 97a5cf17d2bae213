"""What the log holds of an error: one line where its message is for people."""

import json
import logging
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from flows import logs
from lesionlens.datasets.tables import read_table


@pytest.fixture
def logger(monkeypatch: pytest.MonkeyPatch) -> Iterator[logging.Logger]:
    """A logger with the filter that Prefect's logger of flow runs gets."""
    prefect = logging.getLogger("prefect.flow_runs")
    monkeypatch.setattr(prefect, "filters", [])
    logs.shorten_errors()
    found = logging.getLogger("test_logs")
    monkeypatch.setattr(found, "filters", prefect.filters)
    yield found


def unreadable_table(folder: Path) -> None:
    (folder / "cases.csv").write_text("image,mask\n")
    list(read_table(folder / "cases.csv", folder, ("label",)))


def bug_of_a_library(_folder: Path) -> None:
    json.loads("{")


def bug_of_ours(_folder: Path) -> None:
    logs._shorten(None)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("cause", "traced"), [(unreadable_table, False), (bug_of_a_library, True), (bug_of_ours, True)]
)
def test_an_error_with_a_message_for_people_is_one_line(
    cause: Callable[[Path], None],
    traced: bool,
    tmp_path: Path,
    logger: logging.Logger,
    caplog: pytest.LogCaptureFixture,
) -> None:
    try:
        cause(tmp_path)
    except Exception as error:
        logger.exception("Encountered exception during execution: %r", error)
    assert ("Traceback" in caplog.text) is traced
    if not traced:
        assert "cases.csv has no column 'label'" in caplog.messages[0]


def test_the_state_does_not_repeat_the_error(logger: logging.Logger, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO")
    logger.error("Finished in state Failed('Flow run encountered an exception: ValueError: ...')")
    logger.info("Finished in state Completed()")
    assert caplog.messages == ["Finished in state Failed()", "Finished in state Completed()"]


def ended_by(error: BaseException, log: logging.Logger) -> None:
    try:
        raise error
    except BaseException as found:
        log.error("Encountered exception during execution: %r", found, exc_info=True)


@pytest.fixture
def console(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> logging.Logger:
    """A logger whose handler stands for Prefect's console."""
    monkeypatch.setattr(logging.getLogger("prefect"), "handlers", [caplog.handler])
    monkeypatch.setattr(caplog.handler, "filters", [])
    logs.say_errors_once()
    caplog.set_level("INFO")
    return logging.getLogger("test_logs.console")


def test_the_console_leaves_to_the_command_what_its_last_line_says(
    console: logging.Logger, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    try:
        unreadable_table(tmp_path)
    except Exception:
        console.exception("Encountered exception during execution")
    ended_by(KeyboardInterrupt(), console)
    console.error("Crash detected! Execution was aborted by Python interrupt signal.")
    console.error("Finished in state Failed()")
    console.error("Finished in state Crashed('...')")
    assert caplog.messages == []


def test_the_console_shows_everything_else(console: logging.Logger, caplog: pytest.LogCaptureFixture) -> None:
    ended_by(ZeroDivisionError(), console)  # a bug
    console.warning("%s: %s; training starts again", "run", "checkpoint damaged")
    console.info("Finished in state Completed()")
    assert len(caplog.messages) == 3
