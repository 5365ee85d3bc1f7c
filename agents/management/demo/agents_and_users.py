"""The agents of the demo with their releases, its users and its runners."""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import datetime, timedelta
from random import Random
from typing import Any
from uuid import UUID

from django.contrib.auth.hashers import make_password
from django.contrib.auth.models import Group
from django.db import connection

from accounts.models import User
from accounts.roles import Role
from agents.domain.configuration import AgentConfiguration
from agents.domain.demo_names import DEMO_PREFIX
from agents.management.demo.past_ids import make_id
from agents.models import Agent, AgentDraft, Release, Runner

# Every name that the demo makes begins like this, so that it can be recognised.
PREFIX = DEMO_PREFIX
DAYS = 90

# Slug, name, share of the conversations, releases; the last one was archived long ago.
_AGENTS = (
    ("support", "Support", 52, 6),
    ("sales", "Sales", 22, 4),
    ("writer", "Writer", 14, 3),
    ("coder", "Coder", 8, 5),
    ("lawyer", "Lawyer", 3, 2),
    ("oracle", "Oracle", 1, 1),
)
ARCHIVED_AFTER_DAYS = 20


@dataclass(frozen=True, slots=True)
class DemoAgent:
    """An agent. `share`: its weight among the conversations; `releases`: (first millisecond, id, number), ascending."""

    id: UUID
    slug: str
    share: int
    releases: list[tuple[int, UUID, int]]
    route: str
    ends_ms: int | None


@dataclass(frozen=True, slots=True)
class Population:
    """The agents, and the keys of the users and the runners."""

    agents: list[DemoAgent]
    users: list[int]
    runners: list[UUID]


def make_agents_and_users(rng: Random, *, until: datetime, user_count: int) -> Population:
    """Insert the agents, users and runners, which all other rows refer to, and return their keys."""
    since = until - timedelta(days=DAYS)
    user_group = Group.objects.get(name=Role.USER)
    password = make_password(None)  # nobody can log in
    users = User.objects.bulk_create(
        User(username=f"{PREFIX}user-{number:05}", first_name="Sample", last_name=f"Person {number}", password=password)
        for number in range(1, user_count + 1)
    )
    member: Any = User.groups.through
    member.objects.bulk_create(member(user_id=user.pk, group_id=user_group.pk) for user in users)
    runners = Runner.objects.bulk_create(
        Runner(id=make_id(since, rng), host=f"{PREFIX}host", pid=1000 + number, capacity=8, status="stopped")
        for number in range(4)
    )
    agents = [_make_agent(rng, since, number) for number in range(len(_AGENTS))]
    return Population(agents, [user.pk for user in users], [runner.pk for runner in runners])


def _make_agent(rng: Random, since: datetime, number: int) -> DemoAgent:
    slug, name, share, releases = _AGENTS[number]
    archived = number == len(_AGENTS) - 1
    route = ("openai:gpt-4o-mini", "openai:gpt-4o")[number % 2]
    agent = Agent.objects.create(
        id=make_id(since, rng),
        slug=PREFIX + slug,
        name=f"Sample {name}",
        archived_at=since + timedelta(days=ARCHIVED_AFTER_DAYS) if archived else None,
    )
    configuration = AgentConfiguration(model_chain=(route,), instructions=f"You are {name}.").dump()
    AgentDraft.objects.create(agent=agent, configuration=configuration)
    release_length = timedelta(days=DAYS / releases)
    published = [(since + n * release_length, make_id(since + n * release_length, rng), n + 1) for n in range(releases)]
    with connection.cursor() as cursor:
        # Not through the ORM, which would date them all today.
        cursor.executemany(
            "INSERT INTO agents_release (id, agent_id, number, note, configuration, published_at)"
            " VALUES (%s, %s, %s, 'Sample.', %s, %s)",
            [(key, agent.pk, n, json.dumps(configuration), at) for at, key, n in published],
        )
    Agent.objects.filter(pk=agent.pk).update(live_release=Release.objects.get(pk=published[-1][1]))
    ends = int(agent.archived_at.timestamp() * 1000) if agent.archived_at else None
    return DemoAgent(
        agent.pk, agent.slug, share, [(int(at.timestamp() * 1000), key, n) for at, key, n in published], route, ends
    )
