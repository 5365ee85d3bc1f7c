"""Workers that fire schedules and are killed at it, at random points and again and again. Run by `tests.chaos.child`
as a program of its own; prints what was done and what is wrong, as JSON.

This process opens no connection while it forks, so that a worker costs milliseconds.
"""

from __future__ import annotations

import json
import os
import random
import signal
import time
from collections import Counter
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any

from django.contrib.auth.models import Group
from django.db import connections

from accounts.actor import Actor
from accounts.models import User
from accounts.permissions import user_actor
from accounts.roles import Role, sync_roles
from agents.domain.configuration import AgentConfiguration
from agents.models import Agent, AgentDraft, AgentSession, Turn, TurnSchedule
from agents.releases import publish
from agents.sessions import create_session, schedule_firing
from agents.sessions.turn_schedules import create_schedule
from foundation.clock import now

PEOPLE, EACH = 4, 6
WORKERS = 2
# Of a worker that is gone; the product's minute would make a round last as long.
CLAIM_SECONDS = 0.2
GIVE_UP_SECONDS = 120.0
# The functions of a worker after or before which it dies: claimed, in the midst of sending, sent, recorded.
POINTS = (
    ("claim_due_schedules", "after"),
    ("accept_new", "before"),
    ("accept_new", "after"),
    ("record_firings", "before"),
    ("record_firings", "after"),
)


def main() -> None:
    chance = random.Random(int(os.environ["CHAOS_SEED"]))
    enough = int(os.environ["CHAOS_KILLS"])
    schedule_firing.CLAIM_SECONDS = CLAIM_SECONDS  # type: ignore[misc]
    # So many deaths in a row happen to no schedule outside of here.
    schedule_firing.MAX_ATTEMPTS = 1_000  # type: ignore[misc]
    _seed()
    kills: Counter[str] = Counter()
    rounds = 0
    while rounds == 0 or kills.total() < enough:
        rounds += 1
        _make_due(rounds)
        _fire(chance, kills, enough)
    faults = _judge(rounds)
    connections.close_all()
    print(json.dumps({"kills": kills, "rounds": rounds, "schedules": PEOPLE * EACH, "faults": faults}))


def _seed() -> None:
    sync_roles()
    system = Actor.system("chaos")
    agent = Agent.objects.create(slug="demo", name="Demo")
    AgentDraft.objects.create(agent=agent, configuration=AgentConfiguration(model_chain=("offline:",)).dump())
    publish(system, agent_id=agent.pk, expected_version=1)
    for person in range(PEOPLE):
        user = User.objects.create(username=f"person-{person}")
        user.groups.add(Group.objects.get(name=Role.USER))
        actor = user_actor(user)
        session = create_session(actor, agent_slug="demo").pk
        for number in range(EACH):
            # One half begins sessions, the other goes on in one.
            target: dict[str, Any] = {"agent_slug": "demo"} if number % 2 else {"session_id": session}
            create_schedule(actor, text=f"Question {number}", cron="0 * * * *", **target)
    # Each asks more than once a minute here.
    AgentSession.objects.update(title="A test")


def _due_at(number: int) -> datetime:
    """The time for which round `number` fires: another one each time."""
    return now().replace(minute=0, second=0, microsecond=0, day=1) - timedelta(hours=number)


def _make_due(number: int) -> None:
    # As if what was asked had been answered: a session takes only so many open turns.
    AgentSession.objects.update(open_turns=0)
    TurnSchedule.objects.update(next_at=_due_at(number), available_at=None, attempts=0)


def _fire(chance: random.Random, kills: Counter[str], enough: int) -> None:
    """Let workers come and die until nothing is due."""
    alive: dict[int, str] = {}
    give_up_at = time.monotonic() + GIVE_UP_SECONDS
    while True:
        connections.close_all()
        while len(alive) < WORKERS:
            dies = kills.total() + len(alive) < enough
            function, when = chance.choice(POINTS)
            count = chance.randint(1, PEOPLE * EACH // 2) if function == "accept_new" else 1
            pid = os.fork()
            if pid == 0:
                _work(function, when, count if dies else 0)
            alive[pid] = f"{when} {function}"
        pid, status = os.wait()
        point = alive.pop(pid)
        if os.WIFSIGNALED(status):
            kills[point] += 1
        if not TurnSchedule.objects.filter(next_at__lte=now()).exists():
            break
        if time.monotonic() > give_up_at:
            raise SystemExit("what is due is never fired")
    for pid, point in alive.items():
        _, status = os.waitpid(pid, 0)
        kills[point] += os.WIFSIGNALED(status)


def _work(function: str, when: str, count: int) -> None:
    """A worker's life: fires until nothing is left for it, or dies at the `count`th call of `function`."""
    try:
        if count:
            _arm(function, when, count)
        while schedule_firing.fire_due_schedules(limit=10):
            pass
    finally:
        os._exit(0)


def _arm(function: str, when: str, count: int) -> None:
    original: Callable[..., Any] = getattr(schedule_firing, function)
    calls = 0

    def die_or_call(*args: Any, **kwargs: Any) -> Any:
        nonlocal calls
        calls += 1
        if calls == count and when == "before":
            os.kill(os.getpid(), signal.SIGKILL)
        value = original(*args, **kwargs)
        if calls == count and when == "after":
            os.kill(os.getpid(), signal.SIGKILL)
        return value

    setattr(schedule_firing, function, die_or_call)


def _judge(rounds: int) -> list[str]:
    """What is lost, doubled, or not recorded."""
    schedules = list(TurnSchedule.objects.all())
    expected = {
        f"schedule {row.pk} {_due_at(number).timestamp():.0f}" for row in schedules for number in range(1, rounds + 1)
    }
    asked = Counter(Turn.objects.values_list("idempotency_key", flat=True))
    faults = [f"lost: {key}" for key in expected - set(asked)]
    faults += [f"{count} times: {key}" for key, count in asked.items() if count > 1]
    faults += [f"not due: {key}" for key in set(asked) - expected]
    begun = sum(row.agent_session_id is None for row in schedules) * rounds
    if (sessions := AgentSession.objects.count() - PEOPLE) != begun:
        faults.append(f"{sessions} sessions for {begun} runs")
    last = {
        key: (session, turn)
        for key, session, turn in Turn.objects.values_list("idempotency_key", "agent_session_id", "id")
    }
    for row in schedules:
        key = f"schedule {row.pk} {_due_at(rounds).timestamp():.0f}"
        if row.last_outcome != "asked" or (row.last_session_id, row.last_turn_id) != last.get(key):
            faults.append(f"not recorded: {key}: {row.last_outcome} {row.last_error}")
    return faults


if __name__ == "__main__":
    main()
