"""The memory that tools of a turn get: scope-checked, and wary of what strangers may have written."""

from __future__ import annotations

import re
from collections.abc import Collection
from uuid import UUID, uuid5

from django.db import transaction
from django.db.models import Q

from accounts.actor import Actor, Scope
from agents.domain.configuration import AgentConfiguration
from agents.domain.session_purposes import SessionPurpose
from agents.domain.states import StepKind, StepStatus
from agents.models import AgentSession, Message, Step
from agents.sessions.turn_episodes import hold_session, session_owner, speaker_name, user_owner
from agents.tools.tool import ToolError
from foundation.db_threads import in_db_thread, start_in_db_thread
from memory.enums import MemoryScope, MemorySource, TaskState, Trust, WorkingKind
from memory.lifecycle.hits import hit_counter
from memory.models import Memory, MemoryBody
from memory.ownership import OwnerKey, find_owners
from memory.recall import RecalledMemory, RecallRequest, arecall, owner_keys
from memory.working_memory import add_item, update_item
from memory.writing import Provenance, forget_memory, remember
from memory.writing.new_memory import fact_key

_WORD = re.compile(r"\w{3,}")
# Of the words of a memory that the user has said in this turn: with fewer, it may come from somewhere else.
_USER_SHARE = 0.5
_MAX_RECALLED = 8
_GONE = "The conversation is gone."
_NOT_REMEMBERED = "There is no such memory."
_NOT_WRITTEN = "Nothing was changed: in a conversation that tries something out the memory is only read."


class SessionMemory:
    """The memory for one call of a tool; see `TurnMemory`. `trusted_tools` are those whose results nobody outside can
    write. The rows are read by each call, in a database thread."""

    def __init__(self, session_id: UUID, turn_id: UUID, step: int, trusted_tools: Collection[str]) -> None:
        self._session_id = session_id
        self._turn_id = turn_id
        self._step = step
        self._trusted_tools = trusted_tools

    def remember(self, text: str, *, slot: str) -> str:
        """See `TurnMemory`."""
        return str(start_in_db_thread(self._remember, text, slot).result())

    async def recall(self, query: str) -> str:
        """See `TurnMemory`."""
        session, question_id = await in_db_thread(self._session_and_question)
        scopes = AgentConfiguration.parse(session.release.configuration).memory.scopes
        request = RecallRequest(query=query, k=_MAX_RECALLED, excluded_messages=[question_id] if question_id else [])
        result = await arecall(
            owner_keys(session.user_id, session.agent_id, session.pk, scopes),
            request,
            pools_for=(session.agent_id, session.user_id) if MemoryScope.SHARED in scopes else None,
        )
        hit_counter.record(memory.id for memory in result.memories)
        if not result.memories:
            return "Nothing is remembered about that."
        heading = "Perhaps one of these:" if result.low_confidence else "This is remembered:"
        return "\n".join([heading, *map(_describe, result.memories)])

    def forget(self, memory: str) -> str:
        """See `TurnMemory`."""
        return str(start_in_db_thread(self._forget, memory).result())

    def add_item(self, kind: str, text: str) -> str:
        """See `TurnMemory`."""
        return str(start_in_db_thread(self._add_item, WorkingKind(kind), text).result())

    def finish_item(self, item: str) -> str:
        """See `TurnMemory`."""
        return str(start_in_db_thread(self._finish_item, item).result())

    # --- in a database thread ---

    def _remember(self, text: str, slot: str) -> str:
        session = self._session()
        if session.purpose != SessionPurpose.PRODUCTION:
            return _NOT_WRITTEN
        trust = Trust.QUARANTINED if self._may_be_foreign(text) else Trust.DEFAULT
        stored = remember(
            _actor(session),
            user_owner(user_id=session.user_id, agent_id=session.agent_id),
            text,
            source=MemorySource.REMEMBER if trust >= Trust.DEFAULT else MemorySource.TOOL,
            speaker=speaker_name(session.user),
            slot=slot,
            # Somebody asked for it.
            importance=0.8,
            trust=trust,
            provenance=Provenance(agent=session.agent_id, session=session.pk, turn=self._turn_id, step=self._step_id()),
        )
        if Memory.objects.filter(pk=stored.id, trust__lt=Trust.DEFAULT).exists():
            return "Stored, but not used before somebody has reviewed it: it may come from a page or a program."
        return f"Remembered (id {stored.id})." if stored.is_new else f"This was remembered already (id {stored.id})."

    def _forget(self, memory: str) -> str:
        session = self._session()
        if session.purpose != SessionPurpose.PRODUCTION:
            return _NOT_WRITTEN
        if self._has_foreign_result(Q(turn=self._turn_id, number__lt=self._step)):
            raise ToolError(
                "Nothing is forgotten right after reading what others wrote. Let the user ask for it in a new message."
            )
        owners = find_owners(
            [
                user_owner(user_id=session.user_id, agent_id=session.agent_id),
                OwnerKey(MemoryScope.USER, user_id=session.user_id),
                _session_owner(session),
            ]
        )
        rows = MemoryBody.objects.filter(owner__in=owners)
        try:
            rows = rows.filter(pk=UUID(memory))
        except ValueError:
            slots = {"", *rows.exclude(memory__slot="").values_list("memory__slot", flat=True)}
            rows = rows.filter(dedup_key__in=[fact_key(memory, slot) for slot in slots])
        ids = list(rows.values_list("pk", flat=True)[:1])
        if not ids:
            raise ToolError(_NOT_REMEMBERED)
        forget_memory(_actor(session), ids[0])
        return "Forgotten."

    def _add_item(self, kind: WorkingKind, text: str) -> str:
        # The same for a call that is repeated after a crash.
        item_id = uuid5(self._turn_id, str(self._step))
        session = self._session()
        with transaction.atomic():
            if not hold_session(session.pk):
                raise ToolError(_GONE)
            item = add_item(_session_owner(session), kind, text, item_id=item_id)
        return f"Noted (id {item.pk})."

    def _finish_item(self, item: str) -> str:
        try:
            item_id = UUID(item)
        except ValueError:
            raise ToolError("The id of a task is expected.") from None
        update_item(_session_owner(self._session()), item_id, state=TaskState.DONE)
        return "Done."

    def _session_and_question(self) -> tuple[AgentSession, UUID | None]:
        question = Message.objects.filter(turn=self._turn_id, author=Message.Author.USER.value)
        return self._session(), question.values_list("pk", flat=True).first()

    def _session(self) -> AgentSession:
        session = AgentSession.objects.select_related("user", "release").filter(pk=self._session_id).first()
        if session is None:
            raise ToolError(_GONE)
        return session

    def _step_id(self) -> int | None:
        return Step.objects.filter(turn=self._turn_id, number=self._step).values_list("pk", flat=True).first()

    def _may_be_foreign(self, text: str) -> bool:
        """Whether the words of a memory may come from somebody else than the user: a tool has brought text of strangers
        in this turn, or earlier in this conversation and the user's message does not say most of these words."""
        if self._has_foreign_result(Q(turn=self._turn_id, number__lt=self._step)):
            return True
        question = Message.objects.filter(turn=self._turn_id, author=Message.Author.USER).first()
        parts = question.parts if question is not None else []
        if any(part["type"] != "text" for part in parts):
            return True
        words = set(_WORD.findall(text.casefold()))
        spoken = set(_WORD.findall(" ".join(part["text"] for part in parts).casefold()))
        if len(words & spoken) >= _USER_SHARE * len(words):
            return False
        return self._has_foreign_result(Q(turn__agent_session=self._session_id))

    def _has_foreign_result(self, where: Q) -> bool:
        results = Step.objects.filter(where, kind=StepKind.TOOL, status__in=[StepStatus.DONE, StepStatus.FAILED])
        return results.exclude(name__in=self._trusted_tools).exists()


def _describe(memory: RecalledMemory) -> str:
    """One line: what is remembered, who said it, when, and its id, by which it can be forgotten."""
    speaker = f"{memory.actor}: " if memory.actor else ""
    earlier = f"; before: {memory.earlier[0].text}" if memory.earlier else ""
    doubt = "; something else contradicts it" if memory.contradicts else ""
    return f"- {speaker}{memory.text} ({memory.occurred_at:%Y-%m-%d}{earlier}{doubt}; id {memory.id})"


def _actor(session: AgentSession) -> Actor:
    return Actor.user(user_id=session.user_id, name=session.user.get_username(), scopes=frozenset({Scope.CHAT}))


def _session_owner(session: AgentSession) -> OwnerKey:
    return session_owner(user_id=session.user_id, agent_id=session.agent_id, session_id=session.pk)
