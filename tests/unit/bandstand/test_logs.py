"""Log lines are lines: what strangers put into them is shown, not obeyed."""

import json
import logging
import re
import sys
from pathlib import Path
from typing import Any

import pytest

from bandstand import logs
from bandstand.config import Config
from bandstand.supervisor.child_logs import ChildLog
from bandstand.supervisor.terminal import print_error, print_line

EVIL = "a\x1b[2J\x1b]0;title\x07\x85b\x9b2Jc\u2028d\u2029e\u202ef\u2066g\x7f\x0b\x0c\x1ch\ud83d\ri"
NEVER = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u2028-\u202e\u2066-\u2069\ud800-\udfff]")
COLOURS = re.compile(r"\x1b\[[0-9;]*m")


def entry(message: str, **extra: Any) -> logging.LogRecord:
    line = logging.LogRecord("library", logging.ERROR, __file__, 1, message, (), None)
    line.__dict__.update(extra)
    return line


def failing(text: str) -> Any:
    try:
        raise ValueError(text)
    except ValueError:
        return sys.exc_info()


@pytest.fixture
def config() -> Config:
    return Config.model_validate({"BANDSTAND_LOG_FORMAT": "json"})


@pytest.fixture(params=[False, True], ids=["json", "terminal"])
def terminal(request: pytest.FixtureRequest) -> bool:
    return bool(request.param)


@pytest.fixture
def formatter(config: Config, terminal: bool) -> logging.Formatter:
    return logs.formatter(config.model_copy(update={"log_format": "auto"}), terminal=terminal)


def test_no_value_and_no_name_reaches_a_terminal_raw(formatter: logging.Formatter, terminal: bool) -> None:
    line = entry(
        f"library says {EVIL}", path=EVIL, deep={EVIL: [EVIL, {"x": EVIL}]}, raw=EVIL.encode("utf8", "replace")
    )
    line.__dict__[EVIL] = 1
    line.exc_info = failing(EVIL)
    text = COLOURS.sub("", formatter.format(line)) if terminal else formatter.format(line)
    assert not NEVER.search(text)
    assert text.count(r"\x1b[2J") >= 6
    assert r"\u202e" in text
    text.encode()


def test_an_end_of_line_in_a_value_begins_no_line(formatter: logging.Formatter, terminal: bool) -> None:
    forged = 'x\n{"event": "forged", "level": "error"}'
    text = formatter.format(entry(f"library says {forged}", path=forged))
    assert len(text.split("\n")) == 1
    if not terminal:
        assert json.loads(text)["path"] == forged


def test_a_traceback_keeps_its_lines(formatter: logging.Formatter, terminal: bool) -> None:
    line = entry("failed")
    line.exc_info = failing("no")
    text = formatter.format(line)
    trace = text if terminal else json.loads(text)["exception"]
    assert "\n  File" in trace
    assert "ValueError" in trace


@pytest.fixture
def child_log(tmp_path: Path) -> ChildLog:
    return ChildLog("web-1", tmp_path / "web-1.log")


def test_a_line_of_a_child_is_one_line_on_the_terminal(child_log: ChildLog, config: Config) -> None:
    formatter = logs.formatter(config.model_copy(update={"log_format": "json"}))
    hidden = entry("request.refused", path=f'/x\x85\x9b2J{{"event": "forged", "level": "error"}}\u2028{EVIL}')
    hidden.levelname, hidden.levelno = "WARNING", logging.WARNING
    failure = entry("turn.failed", path=EVIL)
    failure.exc_info = failing(EVIL + "\nforged")
    child_log.path.write_text(f"{formatter.format(hidden)}\n{formatter.format(failure)}\n", encoding="utf-8")
    [line] = child_log.errors()
    assert line == "web-1: turn.failed forged"


def test_a_raw_line_of_a_child_is_not_split_inside(child_log: ChildLog) -> None:
    """Such as those of a log of an earlier version, or of a library that prints."""
    raw = '{"level": "warning", "event": "x", "path": "a\x85{\\"level\\": \\"error\\"}\u2028b"}\n'
    child_log.path.write_text(raw + 'crash \x85 \x1b[2J\n{"level": "error", "event": "a\\nb \x9b"}\n', encoding="utf-8")
    assert child_log.errors() == ["web-1: crash \x85 \x1b[2J", r"web-1: a\nb \x9b"]


def test_the_terminal_shows_what_it_would_obey(capsys: pytest.CaptureFixture[str]) -> None:
    print_line(f"{EVIL}\nsecond")
    print_error(f"bandstand: {EVIL}\r\nsecond\x85third\n")
    out, err = capsys.readouterr()
    assert not NEVER.search(out + err)
    assert [line[:11] for line in err.rstrip("\n").split("\n")] == ["bandstand: "] * 2
    assert out.endswith("\nsecond\n")
