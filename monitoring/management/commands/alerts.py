"""`manage.py alerts`: the alert rules and what fires, what a rule would have done, channels and a test of them."""

from __future__ import annotations

import math
import sys
from argparse import ArgumentParser
from collections.abc import Sequence
from typing import Any, Final

import orjson
from django.core.management.base import BaseCommand, CommandError

from foundation.clock import now
from foundation.durations import format_duration_exactly
from monitoring.alerts.alert_descriptions import describe_condition
from monitoring.alerts.backtest import Backtest
from monitoring.alerts.rule_backtest import MAX_DAYS, backtest_rule
from monitoring.models import Alert, AlertRule
from monitoring.notifications import channel_commands

_NAMES: Final = ("enabled", "built_in", "metric", "labels", "group_by", "comparison", "threshold", "clear_threshold")
_TIMES: Final = ("window", "for", "keep_firing_for", "interval", "repeat")


class Command(BaseCommand):
    help = "Alert rules, and what each would have done; channels of notifications, and a test of them."

    def add_arguments(self, parser: ArgumentParser) -> None:
        actions = parser.add_subparsers(dest="action", metavar="{rules,backtest,channels,fire-test}", required=True)
        rules = actions.add_parser("rules", help="the rules, and what is pending and fires")
        rules.add_argument("--json", action="store_true", help="as JSON")
        backtest = actions.add_parser("backtest", help="when a rule would have fired in the last days")
        backtest.add_argument("rule", help="its name")
        backtest.add_argument("--days", type=_days, default=MAX_DAYS, help=f"how far back; {MAX_DAYS} at most")
        backtest.add_argument("--threshold", type=_threshold, help="another threshold than the rule's")
        backtest.add_argument("--json", action="store_true", help="as JSON")
        channel_commands.add_parsers(actions)

    def handle(self, *_args: Any, **options: Any) -> None:
        match options["action"]:
            case "rules":
                self._list_rules(as_json=options["json"])
            case "backtest":
                self._backtest(options)
            case _:
                sys.exit(channel_commands.run(options, self.stdout))

    def _list_rules(self, *, as_json: bool) -> None:
        alerts: dict[Any, list[Alert]] = {}
        for alert in Alert.objects.open().order_by("pending_at"):
            alerts.setdefault(alert.rule_id, []).append(alert)
        rules = list(AlertRule.objects.prefetch_related("channels"))
        if as_json:
            self._write_json([_dump_rule(rule, alerts.get(rule.pk, ())) for rule in rules])
            return
        for rule in rules:
            self.stdout.write(f"{rule.name}  {_describe(rule, alerts.get(rule.pk, ()))}")

    def _backtest(self, options: dict[str, Any]) -> None:
        rule = AlertRule.objects.filter(name=options["rule"]).first()
        if rule is None:
            raise CommandError(f"There is no rule {options['rule']!r}; `manage.py alerts rules` names them.")
        if options["threshold"] is not None:
            rule.threshold = options["threshold"]
        try:
            result = backtest_rule(rule, now=now(), days=options["days"])
        except (KeyError, ValueError) as error:
            raise CommandError(f"The rule cannot be evaluated: {error}") from None
        if options["json"]:
            self._write_json({"rule": rule.name, "days": options["days"], **_dump_backtest(result)})
            return
        for firing in result.firings:
            end = "still fires" if firing.resolved_at is None else f"until {firing.resolved_at:%d %b %H:%M:%S}"
            length = format_duration_exactly(round(result.duration(firing).total_seconds()))
            self.stdout.write(
                f"{firing.firing_at:%d %b %H:%M:%S} UTC {end}  {length}  {_words(firing.labels)}".rstrip()
            )
        self.stdout.write(_summary(rule, result, options["days"]))

    def _write_json(self, document: Any) -> None:
        self.stdout.write(orjson.dumps(document, option=orjson.OPT_INDENT_2).decode())


def _days(text: str) -> float:
    days = float(text)
    if not 0 < days <= MAX_DAYS:
        raise ValueError
    return days


def _threshold(text: str) -> float:
    threshold = float(text)
    if not math.isfinite(threshold):
        raise ValueError
    return threshold


def _describe(rule: AlertRule, alerts: Sequence[Alert]) -> str:
    state = (
        "off" if not rule.enabled else ", ".join(f"{one.state} {_words(one.labels.items())}".strip() for one in alerts)
    )
    channels = ", ".join(channel.name for channel in rule.channels.all()) or "nobody"
    return f"[{state or 'inactive'}]  {describe_condition(rule)}, {rule.severity}, to {channels}"


def _words(labels: Any) -> str:
    return ", ".join(f"{name} {value}" for name, value in sorted(labels))


def _summary(rule: AlertRule, result: Backtest, days: float) -> str:
    times = "once" if len(result.firings) == 1 else f"{len(result.firings):,} times"
    longest = (
        f", longest {format_duration_exactly(round(result.longest.total_seconds()))}"
        if result.longest is not None
        else ""
    )
    dropped = f"; its condition held {result.dropped:,} times more, but not for long enough" if result.dropped else ""
    if not any(value is not None for series in result.values.values() for value in series):
        return f"There is no data of {rule.metric} in the last {days:g} days."
    return f"{rule.name} would have fired {times} in the last {days:g} days{longest}{dropped}."


def _dump_rule(rule: AlertRule, alerts: Sequence[Alert]) -> dict[str, Any]:
    return {
        "name": rule.name,
        "severity": rule.severity,
        **{name: getattr(rule, name) for name in _NAMES},
        **{f"{name}_seconds": getattr(rule, f"{name}_seconds") for name in _TIMES},
        "no_data": rule.no_data,
        "channels": [channel.name for channel in rule.channels.all()],
        "evaluated_at": rule.evaluated_at,
        "evaluation_error": rule.evaluation_error,
        "alerts": [
            {"id": str(one.pk), "labels": one.labels, "state": one.state, "pending_at": one.pending_at,
             "firing_at": one.firing_at, "value": one.value}
            for one in alerts
        ],
    }  # fmt: skip


def _dump_backtest(result: Backtest) -> dict[str, Any]:
    return {
        "since": result.times[0],
        "until": result.times[-1],
        "evaluations": len(result.times),
        "fired": len(result.firings),
        "dropped": result.dropped,
        "longest_seconds": None if result.longest is None else result.longest.total_seconds(),
        "firings": [
            {
                "labels": dict(firing.labels),
                "pending_at": firing.pending_at,
                "firing_at": firing.firing_at,
                "resolved_at": firing.resolved_at,
                "seconds": result.duration(firing).total_seconds(),
            }
            for firing in result.firings
        ],
    }
