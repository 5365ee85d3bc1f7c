"""The start page: what needs somebody now, how the day went, and the lists that each figure leads to."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import groupby
from typing import Any, Final
from urllib.parse import urlencode

from django.conf import settings
from django.contrib.auth.models import AnonymousUser
from django.db import connection
from django.db.models import Count, Q
from django.urls import reverse

from accounts.models import ApiKey, AuditEntry, User
from agents.admin.list_filters import ERROR_CLASSES
from agents.models import Release, Turn
from console.formatting import duration
from foundation.clock import now
from foundation.ids import first_id_at
from monitoring.charts import past_day

# The queue is empty most of the time; who waits longer than this waits for something that is broken.
SLOW_QUEUE_SECONDS: Final = 30
# A reaper takes an expired lease within seconds; one that is older than this is nobody's.
STUCK_SECONDS: Final = 60
ROWS: Final = 6
# Kinds of failures that are named one by one.
KINDS: Final = 4
KEYS_END_WITHIN: Final = timedelta(days=7)
# What an operator has set aside alarms nobody.
FAILED: Final = Q(status__in=("expired", "failed")) & ~Q(error_class="set_aside")
# Acts of which those that belong together are told as one.
READ_ACTS: Final = 200

# Each count uses an index of its own, and what ended is found by the range of the newest ids.
_FIGURES: Final = """
SELECT (SELECT count(*) FROM agents_turn WHERE id >= %(hour_ago)s),
       (SELECT count(*) FROM agents_turn WHERE id >= %(hour_ago)s AND status IN ('expired', 'failed')
          AND error_class <> 'set_aside'),
       (SELECT count(*) FROM agents_turn WHERE status = 'queued'),
       (SELECT extract(epoch FROM now() - min(queued_at))::float8 FROM agents_turn WHERE status = 'queued'),
       (SELECT count(*) FROM agents_turn WHERE lease_expires_at IS NOT NULL),
       (SELECT count(*) FROM agents_turn WHERE lease_expires_at < now() - make_interval(secs => %(stuck)s))
         + (SELECT count(*) FROM agents_turn WHERE deadline_at < now() - make_interval(secs => %(stuck)s)
              AND lease_expires_at IS NULL AND finished_at IS NULL),
       (SELECT count(*) FROM agents_runner WHERE status = 'running'
           AND heartbeat_at > now() - make_interval(secs => %(patience)s)),
       (SELECT coalesce(sum(capacity), 0) FROM agents_runner WHERE status = 'running'
           AND heartbeat_at > now() - make_interval(secs => %(patience)s))
"""

# What helps against a class of errors; docs/console.md says the same at greater length.
_REMEDIES: Final = {
    "transient": "The provider does not answer properly. When it does again: select all, Retry.",
    "rate_limit": "The provider asks us to slow down. When it is over: select all, Retry.",
    "auth": "The provider refuses our key: put in one that works, then select all, Retry.",
    "context_length": "The conversation is too long for the model: fork it at an earlier turn.",
    "worker_crashed": "Runners died at this: read their logs before you retry.",
    "limit_reached": "The agent reached a limit of its draft: raise it, or see in the steps what goes in circles.",
    "deadline": "Nobody could answer in time: are runners up, and do they have room?",
}
_OTHER_REMEDY: Final = "Open one: its steps say what went wrong."


@dataclass(frozen=True, slots=True)
class Concern:
    """Something that needs somebody: what it is, where to look, what to do. `level` is "warn" or "bad"."""

    words: str
    address: str
    remedy: str
    level: str


@dataclass(frozen=True, slots=True)
class Figure:
    """A number on the start page. `level` is "", "warn" or "bad"; `remedy` says what to do at any but the first."""

    name: str
    value: str
    words: str
    address: str
    level: str = ""
    remedy: str = ""

    @property
    def concern(self) -> Concern | None:
        """What the figure asks for, if it does."""
        if not (self.level and self.remedy):
            return None
        return Concern(f"{self.name}: {self.value}, {self.words}", self.address, self.remedy, self.level)


@dataclass(frozen=True, slots=True)
class Acts:
    """What one person did `times` in a row, by its newest entry. `or_more`: what came before was not read."""

    entry: AuditEntry
    times: int
    or_more: bool


def overview(user: User | AnonymousUser) -> dict[str, Any]:
    """What `user` may see of: the figures, concerns, the past day, failed turns, the latest releases and acts."""

    def sees(noun: str) -> bool:
        return bool(user.is_active and user.has_perm(f"agents.view_{noun}"))

    at = now()
    hour_ago = first_id_at(at - timedelta(hours=1))
    failed = Turn.objects.filter(FAILED, pk__gte=first_id_at(at - timedelta(days=1)))
    newest_failed = failed.select_related("user", "agent_session__agent").order_by("-id")
    releases = Release.objects.select_related("agent", "published_by").order_by("-published_at")
    figures = _figures(hour_ago) if sees("turn") and sees("runner") else []
    concerns = _failures(hour_ago, at) if figures and figures[0].level else []
    return {
        "figures": figures,
        "concerns": concerns + (_ending_keys(at) if sees("apikey") else []),
        "day": past_day(at) if sees("turn") else None,
        "failed_turns": newest_failed[:ROWS] if sees("turn") else None,
        "latest_releases": releases[:ROWS] if sees("release") else None,
        "latest_acts": _latest_acts() if sees("auditentry") else None,
    }


def _figures(hour_ago: Any) -> list[Figure]:
    with connection.cursor() as cursor:
        patience = 3 * settings.BANDSTAND.heartbeat_seconds
        cursor.execute(_FIGURES, {"hour_ago": hour_ago, "stuck": STUCK_SECONDS, "patience": patience})
        turns, failed, queued, oldest, running, stuck, runners, capacity = cursor.fetchone()
    turn_list, runner_list = reverse("admin:agents_turn_changelist"), reverse("admin:agents_runner_changelist")
    waits = oldest is not None and oldest > SLOW_QUEUE_SECONDS
    return [
        Figure(
            "Failed, past hour",
            f"{failed:,}",
            f"of {turns:,} turns",
            f"{turn_list}?error=any",
            _level_of_failures(failed, turns),
        ),
        Figure(
            "In the queue",
            f"{queued:,}",
            f"oldest for {duration(oldest)}" if queued else "nobody waits",
            f"{turn_list}?state=queued",
            "bad" if waits else "",
            "Are runners up, and do they have room? If so, one user or program may fill the queue: Cancel ends that.",
        ),
        Figure("Being answered", f"{running:,}", "turns with a runner", f"{turn_list}?state=running"),
        Figure(
            "Stuck",
            f"{stuck:,}",
            "past their lease or deadline" if stuck else "every turn is cared for",
            f"{turn_list}?state=open",
            "bad" if stuck else "",
            "Nobody takes these back: start a runner. A turn that stays is ended by Set aside.",
        ),
        Figure(
            "Runners up",
            f"{runners:,}",
            f"room for {capacity:,} turns" if runners else "nothing is answered",
            runner_list,
            "" if runners else "bad",
            "Start a runner; var/logs/runner-*.log says why the last one died.",
        ),
    ]


def _level_of_failures(failed: int, turns: int) -> str:
    return "bad" if failed * 20 > turns else "warn" if failed else ""


def _failures(hour_ago: Any, at: datetime) -> list[Concern]:
    """The kinds of failures of the past hour, the most frequent first."""
    failed = Turn.objects.filter(FAILED, pk__gte=hour_ago)
    kinds = failed.values("error_class", "release__agent", "release__agent__name").annotate(times=Count("pk"))
    return [
        Concern(
            f"{kind['times']:,} failed with {kind['error_class'] or 'no class'}, agent {kind['release__agent__name']}",
            _list_of(kind, at),
            _REMEDIES.get(kind["error_class"], _OTHER_REMEDY),
            "warn",
        )
        for kind in kinds.order_by("-times", "error_class")[:KINDS]
    ]


def _list_of(kind: Mapping[str, Any], at: datetime) -> str:
    known = kind["error_class"] in ERROR_CLASSES
    query = {"error": kind["error_class"] if known else "any", "agent": kind["release__agent"]}
    since = (at - timedelta(hours=1)).date().isoformat()
    return f"{reverse('admin:agents_turn_changelist')}?{urlencode({**query, 'since': since})}"


def _latest_acts() -> list[Acts]:
    entries = list(AuditEntry.objects.defer("detail").order_by("-id")[:READ_ACTS])
    found: list[Acts] = []
    for _, group in groupby(entries, key=lambda entry: (entry.actor, entry.action)):
        same = list(group)
        found.append(Acts(same[0], len(same), len(entries) == READ_ACTS and same[-1] is entries[-1]))
    return found[:ROWS]


def _ending_keys(at: datetime) -> list[Concern]:
    """Keys that programs used lately and that end soon."""
    keys = ApiKey.objects.filter(revoked_at__isnull=True, expires_at__gt=at, expires_at__lt=at + KEYS_END_WITHIN)
    used = keys.filter(last_used_at__gt=at - KEYS_END_WITHIN).select_related("user").order_by("expires_at")
    return [
        Concern(
            f"The key {key} of {key.user} ends on {key.expires_at:%Y-%m-%d}",
            reverse("admin:accounts_apikey_change", args=[key.pk]),
            "A program uses it: make a new key, put it in, revoke this one.",
            "warn",
        )
        for key in used[:KINDS]
    ]
