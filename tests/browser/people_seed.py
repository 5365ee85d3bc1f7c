"""An agent whose calls wait for a person, one of its users, and an operator who answers in its place."""

from __future__ import annotations

from typing import Any

from django.contrib.auth.models import Group

from accounts.actor import Actor
from accounts.models import User
from accounts.roles import Role
from agents.models import Agent, AgentDraft
from agents.releases import publish
from tests.support.people import OFFLINE, person
from tests.support.sockets import login_of

SLUG = "desk"
# Its user decides about notes, an operator about sums.
RULES = {
    "notebook_add": {"right": "ask"},
    "calculator": {"right": "ask", "decided_by": "operator"},
}


def main() -> dict[str, Any]:
    """`{people}`: clara, who uses the agent, and dora, an operator with a name."""
    clara, dora = person("clara", Role.USER), person("dora", Role.OPERATOR)
    User.objects.filter(pk=dora.pk).update(first_name="Dora", last_name="Berg")
    agent = Agent.objects.create(slug=SLUG, name="Front desk", description="Bookings, bills and letters.")
    group = Group.objects.create(name="Desk")
    agent.groups.add(group)
    for user in (clara, dora):
        user.groups.add(group)
    AgentDraft.objects.create(agent=agent, configuration=OFFLINE | {"tools": [*RULES, "clock"], "tool_rights": RULES})
    publish(Actor.system("browser tests"), agent_id=agent.pk, expected_version=1)
    return {"people": {user.username: {"login": login_of(user), "id": user.pk} for user in (clara, dora)}}
