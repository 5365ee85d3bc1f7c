"""An alert rule fires, its notification arrives at a channel for tests, and so does that of its end."""

from __future__ import annotations

from datetime import timedelta
from typing import Any, Final

from django.conf import settings
from django.db import transaction

from foundation.db_threads import in_db_thread
from monitoring.alerts.evaluator import evaluate_rules
from monitoring.models import Alert, AlertRule, GaugeSample, NotificationChannel
from monitoring.notifications.channel_secrets import encrypt_secret, set_webhook_url
from monitoring.notifications.notifier import deliver_due
from monitoring.notifications.senders.webhook import make_secret
from monitoring.performance.situation import database_now
from monitoring.readiness_validator.scratch.scratch_receiver import scratch_receiver
from monitoring.readiness_validator.scratch.trial_bench import TrialBench

_METRIC: Final = "queue_depth"
_THRESHOLD: Final = 1_000.0


async def try_alert(bench: TrialBench) -> dict[str, Any]:
    """Whether the rule fired and ended, and how many signed notifications had arrived after each."""
    async with scratch_receiver(answers=bench.settings.receiver_answers) as receiver:
        # The environment of this process alone, which ends with the trials.
        settings.BANDSTAND = settings.BANDSTAND.model_copy(update={"alert_hosts": (receiver.origin,)})
        channel, rule = await in_db_thread(_create_rule, f"http://{receiver.origin}/readiness")
        has_fired = await in_db_thread(_evaluate, rule, 10 * _THRESHOLD, 0) == Alert.State.FIRING
        await in_db_thread(deliver_due, channel_ids=[channel.pk])
        of_firing = len(receiver.bodies)
        has_ended = await in_db_thread(_evaluate, rule, 0.0, 1) == Alert.State.RESOLVED
        await in_db_thread(deliver_due, channel_ids=[channel.pk])
        of_end = len(receiver.bodies) - of_firing
    return {"fired": has_fired, "arrived": of_firing, "ended": has_ended, "end_arrived": of_end}


def _create_rule(address: str) -> tuple[NotificationChannel, AlertRule]:
    kind = NotificationChannel.Kind.WEBHOOK
    channel = NotificationChannel(name="readiness", kind=kind, for_tests=True)
    set_webhook_url(channel, address)
    channel.secret = encrypt_secret(channel, make_secret())
    channel.save()
    rule = AlertRule.objects.create(name="readiness", metric=_METRIC, threshold=_THRESHOLD, window_seconds=0)
    rule.channels.set([channel])
    return channel, rule


def _evaluate(rule: AlertRule, value: float, seconds: float) -> str | None:
    """The state of the rule's alert after a sample with this value, so many seconds from now. In the scratch schema no
    other evaluator is at work: the lock that keeps two apart is left to that of the installation."""
    at = database_now() + timedelta(seconds=seconds)
    GaugeSample.objects.create(metric=_METRIC, at=at, value=value)
    with transaction.atomic():
        evaluate_rules([AlertRule.objects.get(pk=rule.pk)], at=at)
    return Alert.objects.filter(rule=rule).values_list("state", flat=True).order_by("-id").first()
