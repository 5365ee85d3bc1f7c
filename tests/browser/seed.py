"""People, agents and a long conversation for the browser. Prints one line of JSON; see `main`."""

from __future__ import annotations

import json
import os
from datetime import timedelta

import django

os.environ["DJANGO_SETTINGS_MODULE"] = "bandstand.settings"
os.environ["BANDSTAND_ROLE"] = "command"
django.setup()

from django.conf import settings  # noqa: E402
from django.utils import timezone  # noqa: E402

from agents.access.actor import Actor  # noqa: E402
from agents.access.permissions import actor_of  # noqa: E402
from agents.access.roles import Role  # noqa: E402
from agents.models import Agent, AgentDraft, AgentSession, Message, Turn, User  # noqa: E402
from agents.releases import publish  # noqa: E402
from agents.releases.demo import SLUG, ensure_demo_agent  # noqa: E402
from agents.rules.parts import text_part  # noqa: E402
from agents.rules.states import TurnStatus  # noqa: E402
from agents.sessions import create_session  # noqa: E402
from foundation.ids import new_id  # noqa: E402
from tests.people import PASSWORD, person  # noqa: E402
from tests.sockets import login_of  # noqa: E402

LONG_TURNS = 1000
ANSWER = """\
### Answer {n}

Some **bold** words, a [link](https://example.com/{n}) and `code` for question {n}.

| a | b |
| - | - |
| 1 | {n} |

```python
print({n})
```
"""


def main() -> None:
    """Prints `{cookie, people: {name: {login, id}}, password, long: session id}`; `login` is a value of the cookie."""
    ensure_demo_agent(["offline"])
    _publish("writer", "Writer", "Drafts and rewrites texts.")
    people = {name: person(name, Role.USER) for name in ("ada", "bob")}
    print(
        json.dumps(
            {
                "cookie": settings.SESSION_COOKIE_NAME,
                "people": {name: {"login": login_of(user), "id": user.pk} for name, user in people.items()},
                "password": PASSWORD,
                "long": _long_conversation(people["bob"]),
            }
        )
    )


def _publish(slug: str, name: str, description: str) -> None:
    agent = Agent.objects.create(slug=slug, name=name, description=description)
    AgentDraft.objects.create(agent=agent, model_chain=["offline:"], tools=[])
    publish(Actor.system("browser tests"), agent_id=agent.pk, expected_version=1)


def _long_conversation(user: User) -> str:
    """A session of `LONG_TURNS` answered questions, as rows; its log begins after them."""
    session = create_session(actor_of(user), agent_slug=SLUG, title="A long conversation")
    now = timezone.now()
    turns, messages, parent = [], [], None
    for n in range(1, LONG_TURNS + 1):
        turn = Turn(
            agent_session=session,
            user=user,
            release=session.release,
            ordinal=2 * n - 1,
            status=TurnStatus.COMPLETED,
            fingerprint=b"\0" * 32,
            finished_at=now,
            deadline_at=now + timedelta(hours=1),
        )
        asked = _said(turn, "user", 2 * n - 1, f"Question {n}: what about number {n}?", parent)
        answer = _said(turn, "agent", 2 * n, ANSWER.format(n=n), asked)
        turns.append(turn)
        messages += [asked, answer]
        parent = answer
    Turn.objects.bulk_create(turns)
    Message.objects.bulk_create(messages)
    AgentSession.objects.filter(pk=session.pk).update(
        next_ordinal=2 * LONG_TURNS + 1, head_message_id=parent.pk if parent else None
    )
    return str(session.pk)


def _said(turn: Turn, author: str, ordinal: int, text: str, parent: Message | None) -> Message:
    return Message(
        id=new_id(),
        agent_session=turn.agent_session,
        turn=turn,
        author=author,
        ordinal=ordinal,
        parts=[text_part(text)],
        parent=parent,
    )


if __name__ == "__main__":
    main()
