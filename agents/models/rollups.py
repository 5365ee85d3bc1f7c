"""Counters of ended turns and their calls, which outlive the conversations that they count."""

from __future__ import annotations

from datetime import timedelta
from typing import Any, Final

from django.contrib.postgres.fields import ArrayField
from django.db import models

# How far back readers find counters of minutes and of hours; those of days stay. Older ones are deleted a little later.
# Minutes reach as far as the backtest of an alert rule looks, a week with the longest window before it.
MINUTES_REACH: Final = timedelta(days=8)
HOURS_REACH: Final = timedelta(days=90)


class RollupWidth(models.TextChoices):
    """How long a counter counts. Each turn is in one of each width, so that nothing is ever moved between them. The
    total is of all time, so that nobody adds up the days of years; it begins in 1970."""

    MINUTE = "minute"
    HOUR = "hour"
    DAY = "day"
    TOTAL = "total"


def _buckets() -> Any:
    return ArrayField(models.IntegerField(), help_text="Of agents.domain.duration_buckets.")


class TurnRollup(models.Model):
    """Turns that ended in a minute, hour or day (UTC), or ever, by agent, release, status and error class.

    Written by `agents.journal.rollups` only, in the transaction that compacts or deletes a turn. Rows name agents and
    releases by plain ids and are never lowered when those turns are deleted. `queue`: until the first claim;
    `first_token`: from the acceptance of the message to the first token of a model, for turns that had one; `added`:
    while no step was open.
    """

    at = models.DateTimeField(help_text="When it begins.")
    width = models.CharField(max_length=6, choices=RollupWidth.choices)
    agent_id = models.UUIDField()
    release_id = models.UUIDField()
    status = models.CharField(max_length=10)
    error_class = models.CharField(max_length=20, blank=True)
    turns = models.IntegerField()
    seconds = models.FloatField(help_text="From the acceptance of each message to the end of its turn.")
    min_seconds = models.FloatField()
    max_seconds = models.FloatField()
    seconds_buckets = _buckets()
    queue_seconds = models.FloatField()
    queue_buckets = _buckets()
    first_token_seconds = models.FloatField()
    first_token_buckets = _buckets()
    added_seconds = models.FloatField()
    added_buckets = _buckets()
    input_tokens = models.BigIntegerField()
    output_tokens = models.BigIntegerField()
    cost_usd = models.DecimalField(max_digits=20, decimal_places=8)
    cost_unknown = models.IntegerField(help_text="Turns whose cost nobody knows.")
    fallbacks = models.IntegerField(help_text="Turns that ended with something in place of an answer.")

    class Meta:
        constraints = [
            models.UniqueConstraint(
                fields=["width", "at", "agent_id", "release_id", "status", "error_class"], name="turn_rollup_unique"
            )
        ]

    def __str__(self) -> str:
        return f"{self.turns} turns in the {self.width} {self.at}"


class CallRollup(models.Model):
    """Steps of ended turns by the minute, hour or day (UTC) of their own end, by agent, release, kind, name and error.

    Written with the `TurnRollup` of their turns. `context_percent` is how much of the model's window a call used.
    """

    at = models.DateTimeField(help_text="When it begins.")
    width = models.CharField(max_length=6, choices=RollupWidth.choices)
    agent_id = models.UUIDField()
    release_id = models.UUIDField()
    operation = models.CharField(max_length=8, help_text="The kind of step.")
    name = models.CharField(max_length=200, blank=True, help_text="The route, the tool or the fallback.")
    error_class = models.CharField(max_length=20, blank=True, help_text='"" for success.')
    calls = models.IntegerField()
    seconds = models.FloatField()
    min_seconds = models.FloatField()
    max_seconds = models.FloatField()
    seconds_buckets = _buckets()
    first_token_seconds = models.FloatField()
    first_token_buckets = _buckets()
    input_tokens = models.BigIntegerField()
    output_tokens = models.BigIntegerField()
    cost_usd = models.DecimalField(max_digits=20, decimal_places=8)
    context_percent = models.FloatField(help_text="The sum of all calls.")
    max_context_percent = models.FloatField()
    context_calls = models.IntegerField(help_text="Calls that say how much of the window they used.")

    class Meta:
        constraints = [
            models.UniqueConstraint(
                fields=["width", "at", "agent_id", "release_id", "operation", "name", "error_class"],
                name="call_rollup_unique",
            )
        ]

    def __str__(self) -> str:
        return f"{self.calls} calls in the {self.width} {self.at}"


class UsageRollup(models.Model):
    """What a user used on a day (UTC), by agent, release and purpose: "turn", that of a call for side work,
    "embeddings", or that of a session that tries something out, for all in it.

    Written by `agents.journal.usage_rollups` only. Rows name users, agents and releases by plain ids and are never
    lowered when conversations are deleted. What is about no conversation has the id 0 of an agent or a release.
    """

    at = models.DateTimeField(help_text="When the day begins.")
    agent_id = models.UUIDField()
    release_id = models.UUIDField()
    user_id = models.IntegerField()
    purpose = models.CharField(max_length=40)
    calls = models.IntegerField(help_text="Turns that ended, or calls.")
    input_tokens = models.BigIntegerField()
    output_tokens = models.BigIntegerField()
    cost_usd = models.DecimalField(max_digits=20, decimal_places=8)
    cost_unknown = models.IntegerField(help_text="Turns or calls whose cost nobody knows.")

    class Meta:
        constraints = [
            models.UniqueConstraint(
                fields=["at", "agent_id", "release_id", "user_id", "purpose"], name="usage_rollup_unique"
            )
        ]

    def __str__(self) -> str:
        return f"{self.calls} of {self.purpose} on {self.at:%Y-%m-%d}"
