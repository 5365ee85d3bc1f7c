"""Acknowledged facts that were lost, and sessions that left something behind."""

from __future__ import annotations

import math
from uuid import UUID

import pytest

from accounts.actor import Actor
from accounts.roles import Role
from agents.models import AgentSession, Release
from agents.sessions.fact_storage import ExtractionSource
from agents.sessions.turn_episodes import user_owner
from foundation.ids import new_id
from memory.enums import MemorySource, Trust
from memory.lifecycle.consolidation import consolidate
from memory.models import EmbeddingModel, Memory, SimilarPair
from memory.ownership import OwnerKey
from memory.writing import Provenance, remember
from tests.support.people import agent, person

pytestmark = pytest.mark.django_db
SYSTEM = Actor.system("tests")


@pytest.fixture
def session() -> AgentSession:
    made = agent()
    return AgentSession.objects.create(
        user=person("ada", Role.USER), agent=made, release=Release.objects.get(agent=made), title="A chat"
    )


def owner(session: AgentSession) -> OwnerKey:
    return user_owner(user_id=session.user_id, agent_id=session.agent_id)


def place(memory_id: UUID, angle: float) -> None:
    model, _ = EmbeddingModel.objects.get_or_create(name="plane", defaults={"dimensions": 2})
    Memory.objects.filter(pk=memory_id).update(embedding=[math.cos(angle), math.sin(angle)], embedding_model=model)


def source(session: AgentSession) -> ExtractionSource:
    origin = Provenance(agent=session.agent_id, session=session.pk, turn=new_id(), message=new_id())
    return ExtractionSource(owner(session), "ada", "text", (), origin)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("I am allergic to nuts", "I am not allergic to nuts"),
        ("The meeting is on 7 May", "The meeting is on 8 May"),
        ("Alice manages Bob", "Bob manages Alice"),
        ("My blood is A+", "My blood is A-"),
    ],
)
def test_facts_that_only_a_vector_takes_for_one_stay(session: AgentSession, one: str, other: str) -> None:
    for text in (one, other):
        stored = remember(SYSTEM, owner(session), text, source=MemorySource.FORM, trust=Trust.CONFIRMED)
        place(stored.id, 0)
    consolidate()
    assert Memory.objects.filter(superseded_by=None).count() == 2
    assert SimilarPair.objects.count() == 1
