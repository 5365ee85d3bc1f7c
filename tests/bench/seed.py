"""People, keys, agents and sessions for the bench. Run by `tests.bench.child`.

Reads from standard input `[[route, sessions, history], …]`, where a route may be a chain of them with commas, and
prints one line of JSON: for each of them `[[session, key], …]`. Sessions are rows made at once, by thousands;
everything else goes through the product's verbs.
"""

from __future__ import annotations

import json
import os
import sys

import django

os.environ["DJANGO_SETTINGS_MODULE"] = "bandstand.settings"
os.environ["BANDSTAND_ROLE"] = "command"
django.setup()

from django.db import connection, transaction  # noqa: E402

from accounts.actor import Actor, Scope  # noqa: E402
from accounts.api_keys import create_api_key  # noqa: E402
from accounts.models import User  # noqa: E402
from accounts.roles import Role, sync_roles  # noqa: E402
from agents.domain.configuration import AgentConfiguration  # noqa: E402
from agents.models import Agent, AgentDraft, AgentSession  # noqa: E402
from agents.releases import publish  # noqa: E402
from agents.sessions import create_session  # noqa: E402
from tests.support.people import person  # noqa: E402

# Few sessions each: one person may have so many sockets and no more.
PEOPLE = 128
# Conversations of before, so that the planner sees tables of an installation in use and not empty ones.
EARLIER_SESSIONS, EARLIER_MESSAGES = 500, 20
SYSTEM = Actor.system("bench")

# Turns as the product leaves them: question, answer, and a log whose deltas are folded. `%(turns)s` for each session.
HISTORY = """
CREATE TEMPORARY TABLE past ON COMMIT DROP AS
SELECT s.id AS session, s.user_id, s.release_id, n, gen_random_uuid() AS turn, gen_random_uuid() AS question,
       gen_random_uuid() AS answer
FROM agents_agentsession s CROSS JOIN generate_series(1, %(turns)s) AS n
WHERE s.id = ANY(%(sessions)s);

INSERT INTO agents_turn (id, agent_session_id, user_id, release_id, ordinal, status, priority, idempotency_key,
                         fingerprint, epoch, attempts_without_progress, started_at, finished_at, deadline_at,
                         error_class, error_detail, input_tokens, output_tokens, compacted, wait_reason, resumes)
SELECT turn, session, user_id, release_id, 2 * n - 1, 'completed', 0, 'past-' || n, sha256(turn::text::bytea), 1, 0,
       now(), now(), now() + interval '1 hour', '', '', 20, 50, true, '', false
FROM past;

INSERT INTO agents_message (id, agent_session_id, ordinal, author, parts, turn_id, parent_id, partial,
                            supplied_by_client, created_at)
SELECT question, session, 2 * n - 1, 'user',
       jsonb_build_array(jsonb_build_object('type', 'text', 'text', 'question ' || n || ' of a long conversation')),
       turn, lag(answer) OVER (PARTITION BY session ORDER BY n), false, false, now()
FROM past
UNION ALL
SELECT answer, session, 2 * n, 'agent',
       jsonb_build_array(jsonb_build_object('type', 'text', 'text', repeat('so many words ', 20))), turn, question,
       false, false, now()
FROM past;

INSERT INTO agents_step (turn_id, number, kind, status, epoch, name, call_id, idempotent, request, result, details,
                         error_class, input_tokens, output_tokens, finished_at)
SELECT turn, 1, 'model', 'done', 1, 'openai:fake', '', true, '{}', '{"text": "", "tool_calls": []}', '{}',
       '', 20, 50, now()
FROM past;

INSERT INTO agents_event (agent_session_id, seq, turn_id, epoch, type, data)
SELECT session, 6 * (n - 1) + k, turn, 1, type, '{}'
FROM past CROSS JOIN unnest(ARRAY['message.created', 'turn.queued', 'turn.started', 'message.delta',
                                  'message.completed', 'turn.completed']) WITH ORDINALITY AS t(type, k);

UPDATE agents_agentsession s
SET next_seq = 6 * p.n + 1, next_ordinal = 2 * p.n + 1, head_message_id = p.answer
FROM past p WHERE p.session = s.id AND p.n = %(turns)s;
"""


def main() -> None:
    sync_roles()
    people = [_with_key(f"person-{number}") for number in range(PEOPLE)]
    agents: dict[str, str] = {}
    _sessions(people, _publish("offline:", "earlier"), EARLIER_SESSIONS, EARLIER_MESSAGES)
    answer = []
    for route, count, history in json.load(sys.stdin):
        if route not in agents:
            agents[route] = _publish(route, f"bench-{len(agents)}")
        answer.append(_sessions(people, agents[route], count, history))
    with connection.cursor() as cursor:
        cursor.execute("VACUUM ANALYZE")
    print(json.dumps(answer))


def _with_key(name: str) -> tuple[User, str]:
    user = person(name, Role.USER)
    _, key = create_api_key(SYSTEM, user=user, name="bench", scopes=set(Scope), expires_at=None)
    return user, key


def _publish(route: str, slug: str) -> str:
    agent = Agent.objects.create(slug=slug, name=slug)
    configuration = AgentConfiguration(
        model_chain=tuple(route.split(",")), instructions="Answer briefly and to the point."
    )
    AgentDraft.objects.create(agent=agent, configuration=configuration.dump())
    publish(SYSTEM, agent_id=agent.pk, expected_version=1)
    return slug


def _sessions(people: list[tuple[User, str]], slug: str, count: int, history: int) -> list[tuple[str, str]]:
    first = create_session(Actor.user(user_id=people[0][0].pk, name="bench"), agent_slug=slug)
    made = [
        AgentSession(user=people[number % PEOPLE][0], agent=first.agent, release=first.release)
        for number in range(count)
    ]
    with transaction.atomic():
        AgentSession.objects.bulk_create(made)
        if history:
            _remember([session.pk for session in made], history // 2)
    return [(str(session.pk), people[number % PEOPLE][1]) for number, session in enumerate(made)]


def _remember(sessions: list[object], turns: int) -> None:
    with connection.cursor() as cursor:
        for statement in HISTORY.split(";\n\n"):
            cursor.execute(statement, {"sessions": sessions, "turns": turns})


if __name__ == "__main__":
    main()
