"""An agent whose every word is an attack on who reads it."""

from typing import Any

from django.contrib.auth.models import Group

from accounts.actor import Actor
from accounts.models import AuditEntry
from agents.releases import create_agent, publish
from tests.browser.attack import ATTACK
from tests.support.people import write_draft


def main() -> dict[str, Any]:
    """`{attack, attack_release, attack_entry}`: ids of an agent with those words as its name, instructions and note, of
    its release, and of the entry about it."""
    tests = Actor.system("browser tests")
    agent = create_agent(tests, details={"slug": "attack", "name": ATTACK[:100]}, model_chain=["offline:"])
    # Not for the people of the chat: it would be the first of their agents, and what they ask is for Demo.
    agent.groups.add(Group.objects.create(name=ATTACK[:100]))
    write_draft(agent, instructions=ATTACK)
    release = publish(tests, agent_id=agent.pk, expected_version=1, note=ATTACK)
    entry = AuditEntry.objects.filter(target_id=release.pk).latest("id")
    return {"attack": str(agent.pk), "attack_release": str(release.pk), "attack_entry": str(entry.pk)}
