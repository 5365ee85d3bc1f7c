"""`manage.py figures`: the performance patterns of the console's page, as text or as JSON."""

from __future__ import annotations

from argparse import ArgumentParser
from typing import Any

import orjson
from django.core.management.base import BaseCommand, CommandError

from agents.models import Agent, Release
from console.formatting import format_percent, format_seconds
from foundation.clock import now
from monitoring.figures import Histogram
from monitoring.patterns import Choice, Pattern, Patterns, read_patterns
from monitoring.task_completion import Breakdown
from monitoring.time_ranges import RANGES


class Command(BaseCommand):
    help = "What turns came to in a range of time: counts, response times, errors, context, memory, ratings."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--range", choices=[*RANGES], default="24h", help="the range that ends now (24h)")
        parser.add_argument("--by", choices=[one.value for one in Breakdown], default="agent", help="per what (agent)")
        parser.add_argument("--agent", help="of the agent with this slug only")
        parser.add_argument("--release", type=int, help="of the release with this number only; needs --agent")
        parser.add_argument("--json", action="store_true", help="all of it, as one JSON object")

    def handle(self, *_args: Any, **options: Any) -> None:
        agent_id, release_id = _find(options["agent"], options["release"])
        choice = Choice(RANGES[options["range"]], Breakdown(options["by"]), agent_id, release_id)
        patterns = read_patterns(choice, now())
        if options["json"]:
            self.stdout.write(orjson.dumps(dump_patterns(patterns), option=orjson.OPT_INDENT_2).decode())
        else:
            for line in _lines(patterns):
                self.stdout.write(line)


def _find(slug: str | None, number: int | None) -> tuple[Any, Any]:
    """The ids of the agent and of its release. Raises `CommandError` if there is none."""
    if slug is None:
        if number is not None:
            raise CommandError("--release needs --agent.")
        return None, None
    agent = Agent.objects.filter(slug=slug).first()
    if agent is None:
        raise CommandError(f"There is no agent {slug!r}.")
    if number is None:
        return agent.pk, None
    release = Release.objects.filter(agent=agent, number=number).first()
    if release is None:
        raise CommandError(f"The agent {slug} has no release {number}.")
    return agent.pk, release.pk


def dump_patterns(patterns: Patterns) -> dict[str, Any]:
    """The patterns as JSON has them: times in UTC, durations in seconds, shares from 0 to 1, costs in US dollars."""
    return {
        "since": patterns.since,
        "until": patterns.until,
        "by": patterns.by.value,
        "total": _dump_pattern(patterns.total),
        "groups": [{"key": group.key, "name": group.label, **_dump_pattern(group)} for group in patterns.groups],
        "errors": [
            {"error_class": error.error_class, "turns": error.turns, "share": error.share} for error in patterns.errors
        ],
        "operations": [
            {
                "operation": one.operation,
                "name": one.name,
                "calls": one.calls,
                "failed": one.failed,
                "failed_share": one.failed_share,
                "seconds": _dump_histogram(one.seconds),
                "errors": dict(one.errors),
            }
            for one in patterns.operations
        ],
    }


def _dump_pattern(pattern: Pattern) -> dict[str, Any]:
    period = pattern.period
    return {
        "turns": period.turns,
        "turns_per_hour": pattern.per_hour,
        "completed": period.completed,
        "failed": period.failed,
        "failed_and_answered_later": period.answered_later,
        "failed_share": period.failed_share,
        "tasks_completed": pattern.tasks_completed,
        "task_completion": pattern.task_completion,
        "seconds": _dump_histogram(period.seconds),
        "queue_seconds": _dump_histogram(period.queue),
        "first_token_seconds": _dump_histogram(period.first_token),
        "added_seconds": _dump_histogram(period.added),
        "input_tokens": period.input_tokens,
        "output_tokens": period.output_tokens,
        "cost_usd": f"{period.cost_usd:f}",
        "turns_of_unknown_cost": period.cost_unknown,
        "fallbacks": period.fallbacks,
        "context_percent": {"mean": pattern.context.mean, "max": pattern.context.max},
        "ratings": {"up": pattern.ratings.up, "down": pattern.ratings.down},
        "memory": {
            "stored": pattern.memory.stored,
            "sampled_recalls": pattern.memory.recalls,
            "recall_seconds": {"p50": pattern.memory.recall_p50, "p95": pattern.memory.recall_p95},
        },
    }


def _dump_histogram(seconds: Histogram) -> dict[str, Any]:
    quantiles = {f"p{round(100 * share)}": seconds.quantile(share) for share in (0.5, 0.95, 0.99)}
    return {"count": seconds.count, "mean": seconds.mean, "min": seconds.min, "max": seconds.max, **quantiles}


def _lines(patterns: Patterns) -> list[str]:
    """A table for people."""
    rows = [[patterns.by.value, "turns", "failed", "tasks completed", "p50", "p95", "p99", "rated down"]]
    for pattern in (*patterns.groups, patterns.total):
        period, seconds = pattern.period, pattern.period.seconds
        counts = [pattern.label, f"{period.turns:,}", f"{period.failed:,}", format_percent(pattern.task_completion)]
        quantiles = [format_seconds(seconds.quantile(share)) for share in (0.5, 0.95, 0.99)]
        rows.append([*counts, *quantiles, f"{pattern.ratings.down:,}"])
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return ["  ".join(text.ljust(width) for text, width in zip(row, widths, strict=True)).rstrip() for row in rows]
