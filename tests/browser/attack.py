"""Words that every page must show as they are; run as a module, they are an agent's. Prints one line of JSON."""

from __future__ import annotations

import json
import os

ATTACK = "<img src=x onerror=alert(1)><b x-init=\"window.pwned = 1\" x-text='1'>{{ 7 * 7 }}</b>"


def main() -> None:
    """Prints `{attack, attack_release, attack_entry}`: ids of an agent with those words as its name, instructions and
    note, of its release, and of the entry about it."""
    import django

    os.environ["DJANGO_SETTINGS_MODULE"] = "bandstand.settings"
    os.environ["BANDSTAND_ROLE"] = "command"
    django.setup()

    from agents.access.actor import Actor
    from agents.models import AgentDraft, AuditEntry
    from agents.releases import create_agent, publish

    tests = Actor.system("browser tests")
    agent = create_agent(tests, details={"slug": "attack", "name": ATTACK[:100]}, model_chain=["offline:"])
    AgentDraft.objects.filter(agent=agent).update(instructions=ATTACK)
    release = publish(tests, agent_id=agent.pk, expected_version=1, note=ATTACK)
    entry = AuditEntry.objects.filter(target_id=release.pk).latest("id")
    print(json.dumps({"attack": str(agent.pk), "attack_release": str(release.pk), "attack_entry": str(entry.pk)}))


if __name__ == "__main__":
    main()
