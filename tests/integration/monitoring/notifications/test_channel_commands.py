"""`manage.py alerts channels` and `fire-test`: what they print, and their exit codes."""

from __future__ import annotations

import json
from argparse import ArgumentParser
from collections.abc import Iterator
from io import StringIO
from pathlib import Path
from typing import Any

import pytest
from django.core.management.base import CommandError, OutputWrapper

from monitoring.models import AlertRule, NotificationChannel
from monitoring.notifications.channel_commands import ACTIONS, add_parsers, run
from monitoring.notifications.channel_secrets import decrypt_secret
from tests.support.notifications import ROUTING_KEY, WEBHOOK_SECRET, Receiver, channel, receiver

pytestmark = pytest.mark.django_db

Kind = NotificationChannel.Kind


@pytest.fixture
def there() -> Iterator[Receiver]:
    with receiver() as running:
        yield running


def call(*words: str) -> tuple[int, str]:
    """The exit code and what was printed."""
    parser = ArgumentParser()
    subparsers = parser.add_subparsers(dest="action", required=True)
    add_parsers(subparsers)
    assert set(subparsers.choices) == set(ACTIONS)
    output = StringIO()
    code = run(vars(parser.parse_args(words)), OutputWrapper(output))
    return code, output.getvalue()


def call_json(*words: str) -> tuple[int, Any]:
    code, text = call(*words, "--json")
    return code, json.loads(text)


def test_a_webhook_is_added_and_its_secret_printed_once(there: Receiver) -> None:
    code, result = call_json("channels", "add", "webhook", "--url", there.url, "--name", "ci")
    assert (code, result["secret"][:6], result["address"]) == (0, "whsec_", there.origin)
    assert decrypt_secret(NotificationChannel.objects.get()) == result["secret"]
    code, text = call("channels", "list")
    assert text.split() == ["ci", "webhook", "on", there.origin]
    assert "secret" not in call_json("channels", "list")[1][0]
    with pytest.raises(CommandError, match="take another --name"):
        call("channels", "add", "webhook", "--url", there.url, "--name", "ci")


def test_secrets_come_from_a_file_and_e_mail_has_none(tmp_path: Path) -> None:
    (tmp_path / "key").write_text(f"{ROUTING_KEY}\n")
    call("channels", "add", "email", "--to", "a@example.org", "--to", "b@example.org")
    _, result = call_json("channels", "add", "pagerduty", "--secret-file", str(tmp_path / "key"), "--fallback", "email")
    assert (result["address"], result["fallback"], "secret" in result) == ("events.pagerduty.com", "email", False)
    assert decrypt_secret(NotificationChannel.objects.get(kind="pagerduty")) == ROUTING_KEY
    with pytest.raises(CommandError, match=r"--secret-file: it cannot be read \(FileNotFoundError\)"):
        call("channels", "add", "slack", "--secret-file", str(tmp_path / "none"))
    with pytest.raises(CommandError, match="needs its secret"):
        call("channels", "add", "slack")


def test_a_channel_that_was_never_set_up_is_completed(tmp_path: Path) -> None:
    (tmp_path / "key").write_text(WEBHOOK_SECRET)
    row = NotificationChannel.objects.create(name="webhook", kind=Kind.WEBHOOK, enabled=False)
    call("channels", "add", "webhook", "--url", "https://hooks.example.org/1", "--secret-file", str(tmp_path / "key"))
    row.refresh_from_db()
    assert (row.enabled, decrypt_secret(row)) == (True, WEBHOOK_SECRET)


def test_a_test_says_what_came_of_it(there: Receiver) -> None:
    row = channel(Kind.SLACK, there)
    assert call("channels", "test", row.name) == (0, f"{row.name}: sent\n")
    there.refuse(404, b"no_service")
    code, [result] = call_json("channels", "test", channel(Kind.SLACK, there).name)
    assert (code, result["sent"], result["error"]) == (1, False, "The receiver answers 404: no_service")
    with pytest.raises(CommandError, match="There is no channel"):
        call("channels", "test", "other")


def test_a_fire_test_goes_to_all_channels_or_to_those_of_a_rule(there: Receiver) -> None:
    with pytest.raises(CommandError, match="No channel is switched on"):
        call("fire-test")
    first, second = channel(Kind.WEBHOOK, there), channel(Kind.PAGERDUTY, there)
    channel(Kind.WEBHOOK, there, enabled=False)
    code, results = call_json("fire-test")
    assert (code, {result["channel"] for result in results}) == (0, {first.name, second.name})
    rule = AlertRule.objects.create(name="slow", metric="m", threshold=1)
    rule.channels.add(second)
    assert call("fire-test", "--rule", "slow") == (0, f"{second.name}: sent\n")
    with pytest.raises(CommandError, match="There is no rule"):
        call("fire-test", "--rule", "other")
