"""An agent with two models, the first of which breaks off, and routes in every trouble."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from django.contrib.auth.models import Group
from django.utils import timezone

from accounts.actor import Actor
from accounts.roles import Role
from agents.models import RouteHealth
from agents.releases import create_agent, publish
from tests.support.people import person
from tests.support.sockets import login_of

# Ten words, slowly, and no end; and the words of the one that answers.
BREAKS_OFF = "openai:first.fault-cut.after-10.tps-20"
ANSWERS = "openai:second.text-Whole"
_ERROR = "transient: 503 The engine is currently overloaded, please try again later; request id req_0123456789abcdef"


def main() -> dict[str, Any]:
    """`{people}`: rita, who alone may talk to the agent."""
    tests = Actor.system("browser tests")
    rita, group = person("rita", Role.USER), Group.objects.create(name="Relay")
    rita.groups.add(group)
    agent = create_agent(tests, details={"slug": "relay", "name": "Relay"}, model_chain=[BREAKS_OFF, ANSWERS])
    agent.groups.add(group)
    publish(tests, agent_id=agent.pk, expected_version=1)
    later = timezone.now() + timedelta(hours=1)
    trouble: list[dict[str, Any]] = [
        {"state": "open", "open_until": later, "last_error": _ERROR},
        {"blocked_until": later, "last_error": _ERROR, "rate_limits": {"requests": {"remaining": 0, "limit": 10_000}}},
        {"forced": "open", "forced_until": later, "buckets": [[timezone.now().timestamp(), 1_000, 900, 800]]},
    ]
    for number, values in enumerate(trouble):
        model = f"a-model-with-a-long-name-2026-11-30-{number}"
        RouteHealth.objects.create(provider="openai", model=model, credential="0123456789abcdef", **values)
    return {"people": {"rita": {"login": login_of(rita), "id": rita.pk}}}
