"""Ended turns become episodes: what the user and the agent said, word for word, for later conversations."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from uuid import UUID

from django.db import connection, transaction

from accounts.models import User
from agents.domain.configuration import AgentConfiguration
from agents.domain.states import StepKind
from agents.models import IN_PRODUCTION, Message, Step, Turn
from memory.enums import MemoryScope
from memory.models import Memory, MemoryBody, MemoryDerivation
from memory.ownership import OwnerKey
from memory.working_memory import end_turn_items
from memory.writing import NewEpisode, Provenance, remember_episodes

# Waits for whoever deletes the session, and makes them wait: nothing is remembered of a session that is gone.
_LOCK_SESSION = "SELECT 1 FROM agents_agentsession WHERE id = %s FOR KEY SHARE"


def uses_memory(release: AgentConfiguration) -> bool:
    """Whether anything is to be done for the memory after a turn of this release."""
    policy = release.memory
    return policy.remember_turns or policy.extract or policy.recall


def user_owner(*, user_id: int, agent_id: UUID) -> OwnerKey:
    """To whom belongs what an agent remembers of a user."""
    return OwnerKey(MemoryScope.USER, user_id=user_id, agent_id=agent_id)


def session_owner(*, user_id: int, agent_id: UUID, session_id: UUID) -> OwnerKey:
    """To whom belongs the working memory of a session."""
    return OwnerKey(MemoryScope.SESSION, user_id=user_id, agent_id=agent_id, session_id=session_id)


@transaction.atomic
def remember_turn(turn_id: UUID, *, release: AgentConfiguration) -> list[UUID]:
    """Remember what was said in an ended turn, where its release says so, and return the ids of the new memories.

    It may be called again: each message is remembered once. Sessions of OpenAI clients, whose messages the client
    brings along, are not remembered, nor sessions in which something is tried out, nor copies of messages in forks,
    which have no turn. The turn's own items of working memory are gone afterwards.
    """
    end_turn_items([turn_id])
    messages = _load_messages(turn_id) if release.memory.remember_turns else []
    if not messages or not hold_session(messages[0].agent_session_id):
        return []
    # Once: what somebody has forgotten since then does not come back.
    if not Turn.objects.filter(pk=turn_id, remembered=False).update(remembered=True):
        return []
    session = messages[0].agent_session
    agent = session.agent
    names = {Message.Author.USER.value: speaker_name(session.user), Message.Author.AGENT.value: agent.name}
    episodes = [
        NewEpisode(message.pk, names[message.author], text, message.created_at, message.ordinal)
        for message in messages
        if (text := _text(message))
    ]
    ids = remember_episodes(
        user_owner(user_id=session.user_id, agent_id=agent.pk),
        episodes,
        provenance=Provenance(agent=agent.pk, session=session.pk, turn=turn_id),
        predecessors=_predecessors(messages[0]),
    )
    answers = [message.pk for message in messages if message.author == Message.Author.AGENT.value]
    _derive(MemoryBody.objects.filter(pk__in=ids, message__in=answers).values_list("pk", flat=True), turn_id)
    return ids


def _derive(answers: Iterable[UUID], turn_id: UUID) -> None:
    """An answer may quote what its model was reminded of: when that is forgotten or corrected, the answer is recalled
    no more."""
    sent = Step.objects.filter(turn=turn_id, kind=StepKind.MODEL.value).values_list(
        "details__context__memories", flat=True
    )
    recalled = {memory for memories in sent for memory in memories or ()}
    if not recalled:
        return
    origins = list(Memory.objects.filter(pk__in=recalled).values_list("pk", flat=True))
    MemoryDerivation.objects.bulk_create(
        [MemoryDerivation(memory_id=answer, origin_id=origin) for answer in answers for origin in origins],
        ignore_conflicts=True,
    )


def find_unembedded(session_id: UUID, turn_id: UUID) -> list[UUID]:
    """The ids of the memories of a turn that have no vector yet, those that a tool wrote among them."""
    rows = Memory.objects.filter(body__session=session_id, body__turn=turn_id, embedding__isnull=True)
    return list(rows.order_by("pk").values_list("pk", flat=True))


def speaker_name(user: User) -> str:
    """The name by which a user's words are remembered."""
    return user.get_full_name() or user.get_username()


def _load_messages(turn_id: UUID) -> list[Message]:
    authors = [Message.Author.USER.value, Message.Author.AGENT.value]
    rows = Message.objects.filter(
        IN_PRODUCTION, turn=turn_id, author__in=authors, agent_session__listed=True, turn__finished_at__isnull=False
    )
    rows = rows.select_related("agent_session__agent", "agent_session__user", "parent__parent")
    return list(rows.defer("provider_extras", "parent__provider_extras").order_by("ordinal"))


def hold_session(session_id: UUID) -> bool:
    """Keep a session from being deleted until the end of the transaction; return whether it is there."""
    with connection.cursor() as cursor:
        cursor.execute(_LOCK_SESSION, [session_id])
        return cursor.fetchone() is not None


def _text(message: Message) -> str:
    # Between two texts of an answer stand calls of tools.
    texts = (str(part["text"]) for part in message.parts if part["type"] == "text")
    return "\n".join(text for text in texts if text.strip())


def _predecessors(question: Message) -> Sequence[str]:
    """The texts of the two messages that a question follows on its branch, oldest first."""
    parent = question.parent
    chain = [parent.parent, parent] if parent is not None else []
    return [_text(message) for message in chain if message is not None]
