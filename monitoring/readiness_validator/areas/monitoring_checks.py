"""Monitoring: a rule fires and its notification arrives; rules are evaluated here, and somebody would be notified."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import timedelta
from typing import Any, Final

from django.db.models import Max

from monitoring.models import AlertRule, NotificationChannel
from monitoring.performance.situation import database_now
from monitoring.readiness_validator.areas.error_handling_checks import NO_TRIAL
from monitoring.readiness_validator.check_lines import Area, CheckLine, LineMaker
from monitoring.readiness_validator.scope import RunScope
from monitoring.readiness_validator.scratch.trial_settings import ALERT

# Some passes of the evaluator, and the longest interval of a rule.
MAX_SILENCE: Final = timedelta(minutes=2)
_LINES: Final = LineMaker(Area.MONITORING)
_SEE_LOG: Final = "The log of whoever ran the check says why. No alert reaches anybody until this works."


def check(scope: RunScope) -> Iterator[CheckLine]:
    """The trial first, then what is set up here."""
    if fault := scope.trials.fault(ALERT):
        yield _LINES.failed("alerts", f"They could not be tried. {fault}", NO_TRIAL)
    else:
        yield from judge_alert(scope.trials.results[ALERT])
    yield from _check_rules()
    yield _check_channels()


def judge_alert(result: Mapping[str, Any]) -> Iterator[CheckLine]:
    """The lines for what the trial has measured."""
    yield _LINES.judge(
        "a rule fires",
        bool(result["fired"] and result["ended"]),
        "A rule fired when its metric passed the threshold, and its alert ended after that.",
        "A rule did not fire when its metric passed the threshold, or did not end after that.",
        _SEE_LOG,
    )
    yield _LINES.judge(
        "its notification arrives",
        result["arrived"] == 1 and result["end_arrived"] == 1,
        "A channel for tests got a signed notification of it, and one of its end.",
        f"A channel for tests got {result['arrived']} signed notifications of it, and {result['end_arrived']} of its "
        "end, in place of one each.",
        _SEE_LOG,
    )


def _check_rules() -> Iterator[CheckLine]:
    rules = AlertRule.objects.filter(enabled=True)
    number, evaluated_at = rules.count(), rules.aggregate(newest=Max("evaluated_at"))["newest"]
    if not number:
        yield _LINES.warning(
            "alert rules", "No alert rule is enabled.", "Enable those that come with the product: Alert rules."
        )
        return
    is_recent = evaluated_at is not None and database_now() - evaluated_at < MAX_SILENCE
    yield _LINES.judge(
        "alert rules",
        is_recent,
        f"{number:,} rules are enabled, and were evaluated lately.",
        f"{number:,} rules are enabled, and none was evaluated in the past {MAX_SILENCE.seconds // 60} minutes.",
        "Start a web process or a runner: each of them evaluates rules. Its log says why it does not.",
    )


def _check_channels() -> CheckLine:
    # One without an address came with the product and leads nowhere yet.
    channels = NotificationChannel.objects.filter(enabled=True, for_tests=False, rules__enabled=True).distinct()
    if number := channels.count():
        return _LINES.passed("channels", f"{number:,} channels would be notified.")
    return _LINES.warning(
        "channels",
        "No enabled rule has an enabled channel: an alert stands in the console, and notifies nobody.",
        "Configure a channel (Channels, or manage.py alerts channels add), and send a test.",
    )
