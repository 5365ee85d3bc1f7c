"""Facts that a model found in a turn: what it is asked about, and how they become memories."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from uuid import UUID

from django.conf import settings
from django.db import connection, transaction

from accounts.actor import Actor
from agents.domain.extracted_facts import ExtractedFact
from agents.models import IN_PRODUCTION, Message, Step
from agents.sessions.turn_episodes import speaker_name, user_owner
from memory.enums import MemorySource, Tier, Trust
from memory.lifecycle.consolidation import SAME_COSINE, SIMILAR_COSINE, note_similar
from memory.models import EmbeddingModel, Memory, MemoryBody, MemoryDerivation
from memory.ownership import OwnerKey, get_or_create_owner
from memory.same_content import content_words
from memory.writing import Provenance, remember
from memory.writing.facts import lock_owner
from memory.writing.new_memory import check_slot
from ratelimits.limiter import DAY_SECONDS, consume, rate
from ratelimits.rates import Rate

_ACTOR = Actor.system("extraction")
# Shorter messages ("yes", "and then?") say nothing that lasts.
_MIN_CHARACTERS = 20
MAX_CHARACTERS = 6_000
# What the user had the agent remember in a turn needs no model to find it.
_REMEMBER_TOOL = "remember"

_NEAREST = """
SELECT m.id, m.actor, m.slot, 1 - (m.embedding <=> %(vector)s::halfvec) FROM memory_memory m
JOIN memory_embeddingmodel e ON e.id = m.embedding_model_id AND e.name = %(model)s
WHERE m.owner_id = %(owner)s AND m.tier = 'long_term' AND m.superseded_by_id IS NULL AND m.valid_until IS NULL
  AND m.trust >= 2 AND (m.expires_at IS NULL OR m.expires_at > now())
ORDER BY m.embedding <=> %(vector)s::halfvec LIMIT 1
"""


@dataclass(frozen=True, slots=True)
class ExtractionSource:
    """The message of a turn that facts are looked for in. `slots` are the names of known facts."""

    owner: OwnerKey
    name: str
    text: str
    slots: tuple[str, ...]
    provenance: Provenance


@dataclass(frozen=True, slots=True)
class FactVector:
    """The vector of a fact's text, by the model of this name."""

    model: str
    values: Sequence[float]


def read_extraction_source(turn_id: UUID) -> ExtractionSource | None:
    """What a model is asked about after a turn, within the user's budget for the day; None when it is not asked.

    Only the user's own words are looked at: not the answer, in which a tool's result may stand, and no message that
    brings results of a client's tools. Raises `RateLimited`.
    """
    questions = Message.objects.filter(
        IN_PRODUCTION, turn=turn_id, author=Message.Author.USER.value, agent_session__listed=True
    )
    question = questions.select_related("agent_session__user").first()
    if question is None or any(part["type"] != "text" for part in question.parts):
        return None
    text = "\n".join(str(part["text"]) for part in question.parts).strip()
    if len(text) < _MIN_CHARACTERS or Step.objects.filter(turn=turn_id, name=_REMEMBER_TOOL).exists():
        return None
    session = question.agent_session
    _consume_budget(session.user_id)
    owner = user_owner(user_id=session.user_id, agent_id=session.agent_id)
    slots = Memory.objects.filter(
        owner__user=session.user_id, owner__agent=session.agent_id, tier=Tier.LONG_TERM, superseded_by=None
    )
    return ExtractionSource(
        owner,
        speaker_name(session.user),
        text[:MAX_CHARACTERS],
        tuple(slots.exclude(slot="").order_by("slot").values_list("slot", flat=True).distinct()[:100]),
        Provenance(agent=session.agent_id, session=session.pk, turn=turn_id, message=question.pk),
    )


@transaction.atomic
def store_extracted_fact(source: ExtractionSource, fact: ExtractedFact, vector: FactVector | None) -> UUID | None:
    """Remember a fact, derived from the episodes of its message; returns the id of the memory that holds it, None when
    the session is gone.

    What is remembered already in nearly the same words is not stored again; what is similar is noted for review. A
    value that somebody has confirmed is not superseded: then the new one waits for a review.
    """
    origin = source.provenance
    if not _lock_session(origin.session):
        return None
    owner_id = get_or_create_owner(source.owner)
    lock_owner(owner_id)
    episodes = list(
        Memory.objects.filter(
            body__session=origin.session, body__message=origin.message, tier=Tier.EPISODIC
        ).values_list("pk", flat=True)
    )
    slot = check_slot(fact.slot)
    nearest = _find_nearest(owner_id, vector)
    if nearest is not None:
        memory_id, actor, other_slot, cosine = nearest
        same_slot = slot == other_slot or not (slot and other_slot)
        if cosine >= SAME_COSINE and actor == source.name and same_slot and _is_same(memory_id, fact.text):
            if not MemoryBody.objects.filter(pk=memory_id, source=MemorySource.EXTRACTION.value).exists():
                # It stands by itself: somebody said it in so many words. It does not go with this session.
                return memory_id
            MemoryDerivation.objects.bulk_create(
                [MemoryDerivation(memory_id=memory_id, origin_id=episode) for episode in episodes],
                ignore_conflicts=True,
            )
            return memory_id
    stored = remember(
        _ACTOR,
        source.owner,
        fact.text,
        source=MemorySource.EXTRACTION,
        speaker=source.name,
        slot=slot,
        trust=Trust.QUARANTINED if _is_confirmed(owner_id, slot) else Trust.DEFAULT,
        provenance=origin,
        derived_from=episodes,
        keys=fact.situations,
    )
    if stored.is_new and vector is not None:
        _store_vector(stored.id, vector)
    if stored.is_new and nearest is not None and nearest[3] >= SIMILAR_COSINE and nearest[0] not in stored.superseded:
        note_similar(stored.id, nearest[0], nearest[3])
    return stored.id


def _lock_session(session_id: UUID | None) -> bool:
    with connection.cursor() as cursor:
        cursor.execute("SELECT 1 FROM agents_agentsession WHERE id = %s FOR KEY SHARE", [session_id])
        return cursor.fetchone() is not None


def _find_nearest(owner_id: int, vector: FactVector | None) -> tuple[UUID, str, str, float] | None:
    if vector is None:
        return None
    literal = "[" + ",".join(f"{value:.6g}" for value in vector.values) + "]"
    with connection.cursor() as cursor:
        cursor.execute(_NEAREST, {"owner": owner_id, "model": vector.model, "vector": literal})
        row: tuple[UUID, str, str, float] | None = cursor.fetchone()
        return row


def _store_vector(memory_id: UUID, vector: FactVector) -> None:
    # So that the next turn finds it near. A model that has no row yet is left to the job that embeds memories.
    model = EmbeddingModel.objects.filter(name=vector.model).first()
    if model is not None:
        Memory.objects.filter(pk=memory_id).update(embedding=list(vector.values), embedding_model=model)


def _is_confirmed(owner_id: int, slot: str) -> bool:
    if not slot:
        return False
    rows = Memory.objects.filter(owner=owner_id, slot=slot, superseded_by=None, valid_until=None)
    return rows.filter(trust=Trust.CONFIRMED.value).exists()


def _consume_budget(user_id: int) -> None:
    consume([(_budget(settings.BANDSTAND.memory_extractions_per_day), f"x:u:{user_id}")])


@lru_cache(maxsize=16)
def _budget(limit: int) -> Rate:
    return rate("memory-extractions", limit, DAY_SECONDS, leased=False)


def _is_same(memory_id: UUID, text: str) -> bool:
    stored = MemoryBody.objects.filter(pk=memory_id).values_list("text", flat=True).first()
    return stored is not None and content_words(stored) == content_words(text)
