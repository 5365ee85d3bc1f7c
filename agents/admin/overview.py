"""The start page: what needs attention now, each figure with the list that it leads to."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from typing import Any, Final

from django.conf import settings
from django.contrib.auth.models import AnonymousUser
from django.db import connection
from django.urls import reverse

from agents.admin.filters import first_id_at
from agents.models import AuditEntry, Release, Turn, User
from foundation.clock import now

# The queue is empty most of the time; who waits longer than this waits for something that is broken.
SLOW_QUEUE_SECONDS: Final = 30
# A reaper takes an expired lease within seconds; one that is older than this is nobody's.
STUCK_SECONDS: Final = 60
ROWS: Final = 6

# Each count uses an index of its own, and what ended is found by the range of the newest ids.
_FIGURES: Final = """
SELECT (SELECT count(*) FROM agents_turn WHERE id >= %(hour_ago)s),
       (SELECT count(*) FROM agents_turn WHERE id >= %(hour_ago)s AND status = 'failed'),
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


@dataclass(frozen=True, slots=True)
class Figure:
    """A number on the start page. `level` is "", "warn" or "bad"."""

    name: str
    value: str
    words: str
    address: str
    level: str = ""


def overview(user: User | AnonymousUser) -> dict[str, Any]:
    """What `user` may see of: the figures, the newest failed turns, the latest releases and acts."""

    def sees(noun: str) -> bool:
        return bool(user.is_active and user.has_perm(f"agents.view_{noun}"))

    hour_ago = first_id_at(now() - timedelta(hours=1))
    failed = Turn.objects.filter(pk__gte=hour_ago, status="failed").select_related("user", "agent_session__agent")
    releases = Release.objects.select_related("agent", "published_by").order_by("-published_at")
    return {
        "figures": _figures() if sees("turn") and sees("runner") else [],
        "failed_turns": failed.order_by("-id")[:ROWS] if sees("turn") else None,
        "latest_releases": releases[:ROWS] if sees("release") else None,
        "latest_acts": AuditEntry.objects.order_by("-id")[:ROWS] if sees("auditentry") else None,
    }


def _figures() -> list[Figure]:
    with connection.cursor() as cursor:
        patience = 3 * settings.BANDSTAND.heartbeat_seconds
        hour_ago = first_id_at(now() - timedelta(hours=1))
        cursor.execute(_FIGURES, {"hour_ago": hour_ago, "stuck": STUCK_SECONDS, "patience": patience})
        turns, failed, queued, oldest, running, stuck, runners, capacity = cursor.fetchone()
    turn_list, runner_list = reverse("admin:agents_turn_changelist"), reverse("admin:agents_runner_changelist")
    waits = oldest is not None and oldest > SLOW_QUEUE_SECONDS
    return [
        Figure(
            "Failed, past hour",
            f"{failed:,}",
            f"of {turns:,} turns",
            f"{turn_list}?state=failed",
            "bad" if failed * 20 > turns else "warn" if failed else "",
        ),
        Figure(
            "In the queue",
            f"{queued:,}",
            f"oldest for {duration(oldest)}" if queued else "nobody waits",
            f"{turn_list}?state=queued",
            "bad" if waits else "",
        ),
        Figure("Being answered", f"{running:,}", "turns with a runner", f"{turn_list}?state=running"),
        Figure(
            "Stuck",
            f"{stuck:,}",
            "past their lease or deadline" if stuck else "every turn is cared for",
            f"{turn_list}?state=open",
            "bad" if stuck else "",
        ),
        Figure(
            "Runners up",
            f"{runners:,}",
            f"room for {capacity:,} turns" if runners else "nothing is answered",
            runner_list,
            "" if runners else "bad",
        ),
    ]


def duration(seconds: float) -> str:
    """A time that people read at a glance: "8 s", "3 min", "2 h", "4 d"."""
    for limit, size, unit in ((120, 1, "s"), (7_200, 60, "min"), (172_800, 3_600, "h")):
        if seconds < limit:
            return f"{seconds / size:.0f} {unit}"
    return f"{seconds / 86_400:.0f} d"
