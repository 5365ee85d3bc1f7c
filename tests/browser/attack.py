"""Words that every page must show as they are; run as a module, they are an agent's. Prints one line of JSON."""

from __future__ import annotations

import json
import os

ATTACK = "<img src=x onerror=alert(1)><b x-init=\"window.pwned = 1\" x-text='1'>{{ 7 * 7 }}</b>"


def main() -> None:
    """Prints `{attack}`: the id of an agent whose name, instructions and note are those words."""
    import django

    os.environ["DJANGO_SETTINGS_MODULE"] = "bandstand.settings"
    os.environ["BANDSTAND_ROLE"] = "command"
    django.setup()

    from agents.access.actor import Actor
    from agents.models import AgentDraft
    from agents.releases import create_agent, publish

    tests = Actor.system("browser tests")
    agent = create_agent(tests, details={"slug": "attack", "name": ATTACK[:100]}, model_chain=["offline:"])
    AgentDraft.objects.filter(agent=agent).update(instructions=ATTACK)
    publish(tests, agent_id=agent.pk, expected_version=1, note=ATTACK)
    print(json.dumps({"attack": str(agent.pk)}))


if __name__ == "__main__":
    main()
