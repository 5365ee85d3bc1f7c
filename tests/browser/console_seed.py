"""People, releases, keys and job runs for the console."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import Any

from accounts.actor import Actor, Scope
from accounts.api_keys import create_api_key
from accounts.groups import create_group
from accounts.permissions import user_actor
from accounts.roles import Role
from agents.domain.configuration import TurnLimits
from agents.models import Agent, AgentDraft
from agents.releases import change_draft, create_agent, publish
from agents.sessions import start_bulk_action
from foundation.clock import now
from foundation.ids import new_id
from foundation.job_registry import jobs
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
    """`{people: {name: {login, id}}, contracts, bulk}`: an owner, a builder, ids of an agent and a bulk action."""
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
    found = {name: {"login": login_of(user), "id": user.pk} for name, user in people.items()}
    return {"people": found, "contracts": str(contracts.pk), "bulk": str(bulk.pk)}


def _edit(actor: Actor, agent: Agent, **settings: Any) -> None:
    draft = AgentDraft.objects.get(agent=agent)
    wanted = replace(configuration_of(draft), **settings)
    change_draft(actor, agent_id=agent.pk, expected_version=draft.version, configuration=wanted)
