"""What the model is reminded of before it answers, where the release says so: a search, once in each claim of a turn.

The search reads only. What it recalled is told by an event that goes with the turn's next write. A turn whose agent
does not recall pays nothing; one whose search fails or takes too long goes on without memories.
"""

from __future__ import annotations

import asyncio
from typing import Final

import structlog

from agents.domain.events import EventType, MemoryRecalled
from agents.domain.marked_blocks import MemoryBlock
from agents.engine.context import TurnContext
from agents.engine.ports import MemoryRetriever
from agents.engine.progress import TurnProgress
from agents.journal.fenced_writes import NewEvent
from foundation.db_threads import DATABASE_FAULTS
from foundation.errors import BandstandError
from foundation.spans import RECALL
from memory.recall import Recall, RecalledMemory, RecallRequest, is_trusted, memory_text, owner_keys

log = structlog.get_logger(__name__)

# An answer does not wait longer for its memories; an embedder that is starting takes longer than one that runs.
RECALL_SECONDS: Final = 3.0
EMBEDDING_SECONDS: Final = 1.5
# Of the question; the rest of a long one, a pasted document say, is not searched for.
QUERY_CHARACTERS: Final = 2_000


async def recall_memories(context: TurnContext, progress: TurnProgress, search: MemoryRetriever | None) -> None:
    """Put what is remembered about the question into `progress`, and the event that says so."""
    policy, claim = context.release.memory, context.claim
    query = _question(context)[:QUERY_CHARACTERS]
    if not policy.recall or search is None or context.agent_id is None or not query.strip():
        return
    owners = owner_keys(claim.user_id, context.agent_id, claim.session_id, policy.scopes)
    request = RecallRequest(
        query=query,
        k=policy.top_k,
        # What the model reads as history anyway.
        seen=(claim.session_id, context.history[0].ordinal),
        embedding_seconds=EMBEDDING_SECONDS,
    )
    spans = progress.spans
    started_at = spans.begin()
    pools_for = (context.agent_id, claim.user_id) if "shared" in policy.scopes else None
    clock = asyncio.get_running_loop().time
    began = clock()
    try:
        async with asyncio.timeout(RECALL_SECONDS):
            found = await search(owners, request, pools_for=pools_for)
    except (TimeoutError, BandstandError, *DATABASE_FAULTS) as error:
        log.warning("turn.not_reminded", turn=str(claim.turn_id), error=type(error).__name__)
        spans.end(RECALL, started_at, error_type=type(error).__name__)
        return
    except Exception as error:
        log.exception("turn.not_reminded", turn=str(claim.turn_id))
        spans.end(RECALL, started_at, error_type=type(error).__name__)
        return
    finally:
        progress.note_recall(clock() - began)
    spans.end(
        RECALL,
        started_at,
        gen_ai__operation__name=RECALL,
        bandstand__memories=len(found.memories),
        bandstand__low_confidence=found.low_confidence,
        bandstand__by_text_only=found.by_text_only,
    )
    if found.memories:
        progress.remind([_block(memory) for memory in found.memories], _event(found))


def _question(context: TurnContext) -> str:
    return "\n".join(part["text"] for part in context.history[-1].parts if part["type"] == "text")


def _event(found: Recall) -> NewEvent:
    ids = [str(memory.id) for memory in found.memories]
    return NewEvent(EventType.MEMORY_RECALLED, MemoryRecalled(memories=ids, low_confidence=found.low_confidence))


def _block(memory: RecalledMemory) -> MemoryBlock:
    return MemoryBlock(str(memory.id), memory_text(memory), memory.score, is_trusted=is_trusted(memory))
