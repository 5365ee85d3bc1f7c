"""People, releases, keys and job runs for the console."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from decimal import Decimal
from typing import Any

from accounts.actor import Actor, Scope
from accounts.api_keys import create_api_key
from accounts.groups import create_group
from accounts.permissions import user_actor
from accounts.roles import Role
from agents.budgets.budget_changes import BudgetTarget, set_budget
from agents.domain.budgets import BudgetPeriod, BudgetSubject, BudgetUnit
from agents.domain.configuration import TurnLimits
from agents.models import Agent, AgentDraft
from agents.releases import change_draft, create_agent, publish
from agents.sessions import start_bulk_action
from foundation.clock import now
from foundation.ids import new_id
from foundation.job_registry import jobs
from monitoring.models import Alert, AlertRule, GaugeSample, Notification, NotificationChannel
from scheduling import q2_sync
from scheduling.job_execution import run_job
from scheduling.tasks import record_scheduler_heartbeat
from tests.support.people import configuration_of, person
from tests.support.sockets import login_of

EDITS = (
    ("You answer questions about our rental contracts.\nQuote the paragraph that you rely on.", "First release."),
    ("You answer questions about our rental contracts.\nQuote the paragraph, and say when none fits.", "Admits gaps."),
)


def main() -> dict[str, Any]:
    """`{people: {name: {login, id}}, contracts, bulk, rule, alert, channel, olgas_budget}`: an owner, a builder, ids of
    an agent, a bulk action, an alert rule, an alert, a channel and a budget."""
    people = {"olga": person("olga", Role.OWNER), "bruno": person("bruno", Role.BUILDER, Role.USER)}
    olga, bruno = user_actor(people["olga"]), user_actor(people["bruno"])
    create_group(olga, name="legal")
    # After Demo by name: a new chat begins with the first agent, and the tests of the chat with Demo.
    details = {"slug": "rental-contracts", "name": "Rental contracts", "description": "Knows our rental contracts."}
    contracts = create_agent(bruno, details=details, model_chain=["openai:gpt-5-mini", "offline:"])
    for instructions, note in EDITS:
        _edit(bruno, contracts, instructions=instructions, tools=("clock", "calculator"))
        draft = AgentDraft.objects.get(agent=contracts)
        publish(bruno, agent_id=contracts.pk, expected_version=draft.version, note=note)
    _edit(
        bruno,
        contracts,
        instructions=f"{EDITS[1][0]}\nNever promise a refund.",
        tools=("clock",),
        limits=TurnLimits(steps=6),
    )
    create_api_key(
        olga, user=people["bruno"], name="nightly report", scopes=[Scope.READ], expires_at=now() + timedelta(days=90)
    )
    q2_sync.sync_schedules()
    for job in jobs:
        run_job(job, asked_by=q2_sync.BY_TIMETABLE)
    record_scheduler_heartbeat()
    # Nobody works on it: there is no scheduler here.
    bulk = start_bulk_action(olga, operation="cancel", targets=[new_id() for _ in range(60)])
    rule, alert, channel = _fire()
    # Of a person who asks nothing here; one in dollars would make unknown prices a failure of agents' readiness.
    budget = set_budget(
        olga, BudgetTarget(BudgetSubject.USER, user_id=people["olga"].pk), unit=BudgetUnit.TOKENS,
        period=BudgetPeriod.MONTH, amount=Decimal(500_000),
    )  # fmt: skip
    found = {name: {"login": login_of(user), "id": user.pk} for name, user in people.items()}
    return {
        "people": found, "contracts": str(contracts.pk), "bulk": str(bulk.pk),
        "rule": str(rule.pk), "alert": str(alert.pk), "channel": str(channel.pk),
        "olgas_budget": str(budget.pk),
    }  # fmt: skip


def _fire() -> tuple[AlertRule, Alert, NotificationChannel]:
    """A rule that would have fired once by past samples; of another one, which nobody evaluates for an hour, an alert
    that fires; and the channel of both."""
    rule = AlertRule.objects.create(
        name="long_queue", metric="queue_depth", threshold=10, window_seconds=0, for_seconds=120
    )
    begin = now() - timedelta(hours=2)
    GaugeSample.objects.bulk_create(
        GaugeSample(metric="queue_depth", at=begin + timedelta(seconds=30 * step), value=20 if 20 < step < 60 else 2)
        for step in range(180)
    )
    failures = AlertRule.objects.create(
        name="many_failures", metric="turn_error_rate", threshold=5, severity="critical", interval_seconds=3_600,
        evaluated_at=now(), description="Turns fail.", runbook_url="/admin/runbooks/#high_error_rate",
    )  # fmt: skip
    times = {"pending_at": begin, "firing_at": begin + timedelta(minutes=5), "evaluated_at": now()}
    alert = Alert.objects.create(rule=failures, state="firing", group_key=new_id(), value=12.5, **times)
    channel = NotificationChannel.objects.create(name="on-call", kind="email", address="ops@example.org", enabled=False)
    for one in (rule, failures):
        one.channels.add(channel)
    content = {"title": "many_failures is firing", "incident_key": str(alert.pk)}
    sent = Notification.objects.create(
        channel=channel, rule=failures, kind="firing", dedup_key=str(alert.pk), content=content, state="failed"
    )
    sent.alerts.add(alert)
    return rule, alert, channel


def _edit(actor: Actor, agent: Agent, **settings: Any) -> None:
    draft = AgentDraft.objects.get(agent=agent)
    wanted = replace(configuration_of(draft), **settings)
    change_draft(actor, agent_id=agent.pk, expected_version=draft.version, configuration=wanted)
