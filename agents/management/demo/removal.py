"""Removes the rows of the demo, and nothing else."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from django.db import transaction
from django.db.models import Q, QuerySet

from accounts.models import User
from agents.management.demo.agents_and_users import PREFIX
from agents.management.demo.waiting_people import OPERATOR_PREFIX
from agents.models import (
    Agent,
    AgentDraft,
    AgentSession,
    Approval,
    ApprovalPass,
    CallRollup,
    CompletionRequest,
    Event,
    Feedback,
    Handoff,
    HandoffNote,
    HistorySummary,
    Message,
    Release,
    Runner,
    Step,
    Turn,
    TurnRollup,
    TurnText,
    UsageRollup,
    UtilityCall,
)
from memory.writing import forget_agent, forget_sessions, forget_users

BATCH = 2_000


def remove(*, report: Callable[[str], None]) -> dict[str, int]:
    """Delete the sample agents, their sessions and the sample users; return the number of rows by kind.

    Works in batches, each in its own transaction, so it may be stopped and started again at any time.
    """
    counts: dict[str, int] = {}
    sessions = AgentSession.objects.filter(agent__slug__startswith=PREFIX)
    while batch := list(sessions.values_list("pk", flat=True)[:BATCH]):
        with transaction.atomic():
            turns = Turn.objects.filter(agent_session__in=batch)
            _delete(counts, "steps", Step.objects.filter(turn__in=turns.values("pk")))
            TurnText.objects.filter(turn__in=turns.values("pk"))._raw_delete("default")
            # What people, clients and the product itself have added to them since.
            for added in (
                Feedback,
                Approval,
                ApprovalPass,
                HandoffNote,
                Handoff,
                HistorySummary,
                UtilityCall,
                CompletionRequest,
            ):
                rows: Any = added
                rows.objects.filter(agent_session__in=batch)._raw_delete("default")
            for name, model in (("events", Event), ("messages", Message), ("turns", Turn)):
                _delete(counts, name, model.objects.filter(agent_session__in=batch))
            _delete(counts, "sessions", AgentSession.objects.filter(pk__in=batch))
            forget_sessions(batch)
        report(f"{counts['sessions']:,} sessions are gone")
    with transaction.atomic():
        _delete_agents_and_users(counts)
    return counts


def _delete_agents_and_users(counts: dict[str, int]) -> None:
    agents = Agent.objects.filter(slug__startswith=PREFIX)
    for name, rollup in (
        ("counters of turns", TurnRollup),
        ("counters of calls", CallRollup),
        ("counters of usage", UsageRollup),
    ):
        _delete(counts, name, rollup._default_manager.filter(agent_id__in=agents.values("pk")))
    agents.update(live_release=None)
    _delete(counts, "drafts", AgentDraft.objects.filter(agent__in=agents))
    _delete(counts, "releases", Release.objects.filter(agent__in=agents))
    names = Q(username__startswith=f"{PREFIX}user-") | Q(username__startswith=OPERATOR_PREFIX)
    people = User.objects.filter(names)
    members: Any = User.groups.through
    members.objects.filter(user__in=people.filter(agent_sessions__isnull=True)).delete()
    forget_users(list(people.filter(agent_sessions__isnull=True).values_list("pk", flat=True)))
    for agent_id in agents.values_list("pk", flat=True):
        forget_agent(agent_id)
    # People who wrote something of their own since then stay.
    _delete(counts, "people", people.filter(agent_sessions__isnull=True))
    # With what other apps keep of them, such as debug modes: of few agents the cascade is cheap.
    counts["agents"] = agents.count()
    agents.delete()
    _delete(counts, "runners", Runner.objects.filter(host=f"{PREFIX}host"))


def _delete(counts: dict[str, int], name: str, rows: QuerySet[Any]) -> None:
    # Plain deletes: the cascade would read every row first, and no rows refer to these any more.
    counts[name] = counts.get(name, 0) + rows._raw_delete(rows.db)
