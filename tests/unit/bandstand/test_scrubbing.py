"""Secrets leave the process in no log line and no error report."""

import json
import logging
import sys
from collections.abc import Iterator
from typing import Any

import pytest
import sentry_sdk
import structlog
from sentry_sdk.envelope import Envelope
from sentry_sdk.transport import Transport

from bandstand import logs, sentry
from bandstand.config import Config
from foundation.scrubbing import MARK, Scrubber

CANARY = 'canary/w1th "quotes"+é&' + "x7Kq" * 8


@pytest.fixture
def config() -> Config:
    return Config.model_validate(
        {
            "DATABASE_URL": "postgresql://someone:canary-database@localhost/x",
            "OPENAI_API_KEY": CANARY,
            "SENTRY_DSN": "https://key@sentry.example.org/1",
            "BANDSTAND_LOG_FORMAT": "json",
        }
    )


@pytest.mark.parametrize(
    "leak",
    [
        f"key={CANARY}",
        json.dumps({"key": CANARY}),
        repr({"key": CANARY}),
        "bs_live_AbCdEfGh12345678",
        "sk-proj-AbCdEfGh12345678",
        "Authorization: Bearer eyJhbGciOi.payload.signature",
        "postgresql://user:canary@db/x",
        "Cookie: __Host-bandstand=canarycanary12345; csrftoken=canarycanary12345",
        "/password/MQ/canary-0123456789abcdef0123456789abcdef/",
    ],
)
def test_a_secret_is_found_in_every_dress(leak: str) -> None:
    scrubbed = Scrubber([CANARY]).text(f"before {leak} after")
    assert "canary" not in scrubbed
    assert "AbCdEfGh" not in scrubbed
    assert "eyJ" not in scrubbed
    assert MARK in scrubbed
    assert scrubbed.startswith("before ")
    assert scrubbed.endswith(" after")


def test_ordinary_words_stay() -> None:
    text = "asked the bear to be at http://localhost:8000/ask-me?bs_=1 by 10:30"
    assert Scrubber(["short", CANARY]).text(text) == text


def test_nested_values_and_keys_are_scrubbed_and_numbers_stay() -> None:
    tree = {CANARY: [1, 2.5, None, True, (CANARY, {"deep": CANARY.encode()})]}
    assert Scrubber([CANARY]).tree(tree) == {MARK: [1, 2.5, None, True, [MARK, {"deep": MARK}]]}


def test_what_is_nested_without_end_is_scrubbed_too() -> None:
    tree: Any = CANARY
    for _ in range(50):
        tree = [tree]
    assert "canary" not in str(Scrubber([CANARY]).tree(tree))


def record(message: str, *args: object, **extra: object) -> logging.LogRecord:
    entry = logging.LogRecord("library", logging.ERROR, __file__, 1, message, args, None)
    entry.__dict__.update(extra)
    return entry


def test_a_log_line_is_one_json_object_without_secrets(config: Config) -> None:
    entry = record("called with %s", CANARY, headers={"x": CANARY})
    try:
        raise RuntimeError(CANARY)
    except RuntimeError:
        entry.exc_info = sys.exc_info()
    line = logs.formatter(config).format(entry)
    assert "canary" not in line
    parsed = json.loads(line)
    assert parsed["event"] == f"called with {MARK}"
    assert parsed["headers"] == {"x": MARK}
    assert f"RuntimeError: {MARK}" in parsed["exception"]
    assert (parsed["level"], parsed["logger"]) == ("error", "library")
    assert parsed["timestamp"].endswith("Z")


def test_a_failure_that_is_logged_has_its_trace_in_one_line(config: Config, caplog: pytest.LogCaptureFixture) -> None:
    log = structlog.get_logger(__name__)
    try:
        raise ValueError(CANARY)
    except ValueError:
        log.exception("turn.failed", turn="t1")
    (entry,) = caplog.records
    line = logs.formatter(config).format(entry)
    parsed = json.loads(line)
    assert (parsed["event"], parsed["turn"], parsed["level"]) == ("turn.failed", "t1", "error")
    assert parsed["exception"].endswith(f"ValueError: {MARK}")
    assert "canary" not in line


def test_without_scrubbing_the_secret_would_be_in_the_line(config: Config, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Scrubber, "tree", lambda self, value, depth=0: value)
    assert "canary" in logs.formatter(config).format(record("called with %s", CANARY))


def test_the_terminal_gets_columns(config: Config) -> None:
    line = logs.formatter(config.model_copy(update={"log_format": "auto"}), terminal=True).format(record("fact", n=1))
    assert "fact" in line
    assert not line.startswith("{")


class Captured(Transport):
    """Keeps what would have been sent."""

    sent: list[str] = []

    def capture_envelope(self, envelope: Envelope) -> None:
        self.sent.append(envelope.serialize().decode())


@pytest.fixture
def sent() -> Iterator[list[str]]:
    Captured.sent.clear()
    with sentry_sdk.isolation_scope() as scope:  # begins with what the process has left behind
        scope.clear_breadcrumbs()
        yield Captured.sent
    sentry_sdk.get_client().close()
    sentry_sdk.init()


def leak_everywhere() -> None:
    local = CANARY
    sentry_sdk.add_breadcrumb(message=f"crumb {CANARY}", data={"authorization_value": CANARY})
    sentry_sdk.set_context("request", {"headers": {"X-Anything": CANARY}})
    sentry_sdk.set_tag("tag", CANARY)
    sentry_sdk.capture_message(f"message {CANARY}")
    try:
        raise ValueError(f"exception {local}")
    except ValueError:
        sentry_sdk.capture_exception()
    with sentry_sdk.start_transaction(name=f"GET /{CANARY}", sampled=True) as transaction:
        transaction.set_data("query", CANARY)
    sentry_sdk.flush()


def test_an_error_report_holds_no_secret_anywhere(config: Config, sent: list[str]) -> None:
    assert sentry.start(config, transport=Captured)
    leak_everywhere()
    everything = "\n".join(sent)
    assert "message [scrubbed]" in everything
    assert "ValueError" in everything
    assert "crumb [scrubbed]" in everything
    assert "canary" not in everything
    assert "x7Kq" not in everything


def test_a_failure_that_is_logged_is_reported_by_its_name_with_its_trace(config: Config, sent: list[str]) -> None:
    sentry.start(config, transport=Captured)
    log = structlog.get_logger(__name__)
    log.warning("tool.failed", tool=CANARY)
    try:
        raise ValueError(CANARY)
    except ValueError as error:
        log.exception("turn.failed", turn="t1", url=CANARY)
        later = error
    log.error("stream.failed", exc_info=later)
    sentry_sdk.flush()
    reports = [json.loads(line) for envelope in sent for line in envelope.splitlines() if '"logentry"' in line]
    assert len(reports) == 1, "one exception is reported once"
    (report,) = reports
    assert report["logentry"]["message"] == "turn.failed"
    assert (report["level"], report["logger"]) == ("error", __name__)
    (exception,) = report["exception"]["values"]
    assert (exception["type"], exception["value"]) == ("ValueError", MARK)
    assert (
        exception["stacktrace"]["frames"][-1]["function"]
        == "test_a_failure_that_is_logged_is_reported_by_its_name_with_its_trace"
    )
    assert report["extra"] | {"turn": "t1", "url": MARK} == report["extra"]
    (crumb,) = [crumb for crumb in report["breadcrumbs"]["values"] if crumb["category"] == __name__]
    assert (crumb["message"], crumb["data"]["tool"]) == ("tool.failed", MARK)
    assert "canary" not in "\n".join(sent)


def test_local_variables_and_people_are_not_collected_at_all(config: Config, sent: list[str]) -> None:
    sentry.start(config, transport=Captured)
    leak_everywhere()
    assert '"vars"' not in "".join(sent)
    collected = sentry_sdk.get_client().options["data_collection"]
    assert not collected["user_info"]
    assert not collected["stack_frame_variables"]


def test_without_scrubbing_the_secret_would_be_in_the_report(
    config: Config, sent: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Scrubber, "tree", lambda self, value, depth=0: value)
    sentry.start(config, transport=Captured)
    leak_everywhere()
    assert "x7Kq" in "\n".join(sent)


def test_nothing_is_reported_without_a_dsn(config: Config) -> None:
    assert not sentry.start(config.model_copy(update={"sentry_dsn": None}), transport=Captured)
