"""The part of `manage.py alerts` that is about channels: `channels list|add|test` and `fire-test`."""

from __future__ import annotations

import json
import sys
from argparse import ArgumentParser
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final
from uuid import UUID

from django.core.management.base import CommandError, OutputWrapper

from accounts.actor import Actor
from foundation.errors import BandstandError
from monitoring.models import AlertRule, DeliveryAttempt, Notification, NotificationChannel
from monitoring.notifications.channel_input import ChannelInput, describe_address
from monitoring.notifications.channels import save_channel, send_test
from monitoring.notifications.notifier import wait_until_delivered

Kind = NotificationChannel.Kind

ACTIONS: Final = ("channels", "fire-test")
WAIT_SECONDS: Final = 120.0
_ACTOR: Final = "alerts"


def add_parsers(subparsers: Any) -> None:
    """Add the subcommands `channels` and `fire-test`."""
    channels = subparsers.add_parser("channels", help="where notifications go: list, add, test")
    verbs = channels.add_subparsers(dest="verb", metavar="{list,add,test}", required=True)
    _add_json(verbs.add_parser("list", help="the channels, and when each last delivered"))
    add = verbs.add_parser("add", help="add a channel, or complete one of this name that has never been set up")
    add.add_argument("kind", choices=[kind.value for kind in Kind])
    add.add_argument("--name", default="", help="the kind, if unset")
    add.add_argument("--url", default="", help="of a webhook")
    add.add_argument("--to", action="append", default=[], metavar="ADDRESS", help="of an e-mail; may be repeated")
    add.add_argument(
        "--secret-file",
        default="",
        metavar="FILE",
        help="Slack's URL, PagerDuty's integration key, or a webhook's whsec_… (else one is made); - is the input",
    )
    add.add_argument("--fallback", default="", metavar="NAME", help="the channel that takes over when it fails")
    _add_json(add)
    test = verbs.add_parser("test", help="send a test to one channel, and wait for what comes of it")
    test.add_argument("name")
    _add_json(test)
    fire = subparsers.add_parser("fire-test", help="send a test to all channels that are switched on, or to a rule's")
    fire.add_argument("--rule", default="", metavar="NAME")
    _add_json(fire)


def run(options: Mapping[str, Any], stdout: OutputWrapper) -> int:
    """Run what `add_parsers` has read and return the exit code. Raises `CommandError`."""
    try:
        if options["action"] == "fire-test":
            return _test(_channels_of(options["rule"]), options, stdout)
        match options["verb"]:
            case "add":
                return _add(options, stdout)
            case "test":
                return _test([_find(options["name"])], options, stdout)
            case _:
                return _list(options, stdout)
    except BandstandError as error:
        raise CommandError(error.detail) from None


def _add_json(parser: ArgumentParser) -> None:
    parser.add_argument("--json", action="store_true", help="as JSON")


def _find(name: str) -> NotificationChannel:
    channel = NotificationChannel.objects.filter(name=name, for_tests=False).first()
    if channel is None:
        raise CommandError(f"There is no channel {name!r}; `manage.py alerts channels list` names them.")
    return channel


def _channels_of(rule_name: str) -> Sequence[NotificationChannel]:
    channels = NotificationChannel.objects.filter(enabled=True, for_tests=False)
    if rule_name:
        if not AlertRule.objects.filter(name=rule_name).exists():
            raise CommandError(f"There is no rule {rule_name!r}.")
        channels = channels.filter(rules__name=rule_name)
    if not channels:
        raise CommandError("No channel is switched on: `manage.py alerts channels add` sets one up.")
    return list(channels)


def _add(options: Mapping[str, Any], stdout: OutputWrapper) -> int:
    kind = Kind(options["kind"])
    name = options["name"] or kind.value
    present = NotificationChannel.objects.filter(name=name, for_tests=False).first()
    if present is not None and (present.kind != kind or present.address or present.secret):
        raise CommandError(f"There is a channel {name!r}; take another --name, or change it in the console.")
    fallback = _find(options["fallback"]).pk if options["fallback"] else None
    address = "\n".join(options["to"]) if kind is Kind.EMAIL else options["url"]
    saved = save_channel(
        Actor.system(_ACTOR),
        values=ChannelInput(name=name, kind=kind, address=address, fallback_id=fallback),
        secret=_read_secret(options["secret_file"]),
        channel_id=present.pk if present else None,
    )
    if options["json"]:
        result = _describe(saved.channel)
        stdout.write(json.dumps(result | ({"secret": saved.new_secret} if saved.new_secret else {})))
        return 0
    stdout.write(f"{saved.channel.name}: {describe_address(saved.channel)}")
    if saved.new_secret:
        stdout.write(f"Its receiver verifies with this secret, which is shown once: {saved.new_secret}")
    return 0


def _read_secret(path: str) -> str:
    if not path:
        return ""
    try:
        return sys.stdin.readline().strip() if path == "-" else Path(path).read_text(encoding="utf-8").strip()
    except (OSError, ValueError) as error:
        raise CommandError(f"--secret-file: it cannot be read ({type(error).__name__}).") from None


def _list(options: Mapping[str, Any], stdout: OutputWrapper) -> int:
    rows = [_describe(channel) for channel in NotificationChannel.objects.filter(for_tests=False)]
    if options["json"]:
        stdout.write(json.dumps(rows))
        return 0
    for row in rows:
        state = "on" if row["enabled"] else "off"
        stdout.write(f"{row['name']:<20} {row['kind']:<10} {state:<4} {row['address'] or 'not set up'}".rstrip())
    return 0


def _describe(channel: NotificationChannel) -> dict[str, Any]:
    is_complete = channel.address if channel.kind == Kind.EMAIL else channel.secret
    return {
        "id": str(channel.pk),
        "name": channel.name,
        "kind": channel.kind,
        "enabled": channel.enabled,
        "address": describe_address(channel) if is_complete else "",
        "fallback": channel.fallback.name if channel.fallback else None,
        "attempted_at": channel.attempted_at.isoformat() if channel.attempted_at else None,
    }


def _test(channels: Sequence[NotificationChannel], options: Mapping[str, Any], stdout: OutputWrapper) -> int:
    tests = [send_test(Actor.system(_ACTOR), channel.pk) for channel in channels]
    wait_until_delivered([test.pk for test in tests], seconds=WAIT_SECONDS)
    results = [_result(test.pk) for test in tests]
    if options["json"]:
        stdout.write(json.dumps(results))
    else:
        for result in results:
            stdout.write(f"{result['channel']}: {'sent' if result['sent'] else result['error'] or 'still waiting'}")
    return 0 if all(result["sent"] for result in results) else 1


def _result(notification_id: UUID) -> dict[str, Any]:
    row = Notification.objects.select_related("channel").get(pk=notification_id)
    attempt = DeliveryAttempt.objects.filter(notification=row).order_by("-id").first()
    return {
        "channel": row.channel.name,
        "sent": row.state == Notification.State.SENT,
        "status_code": attempt.status_code if attempt else None,
        "error": attempt.error if attempt else "",
    }
