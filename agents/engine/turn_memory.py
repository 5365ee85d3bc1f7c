"""What follows a turn for the memory: its messages become episodes, and what it has left to remember gets vectors."""

from __future__ import annotations

import structlog

from agents.engine.context import TurnContext
from agents.sessions.turn_episodes import find_unembedded, remember_turn
from foundation.db_threads import DATABASE_FAULTS, in_db_thread
from memory.embeddings import EmbeddingUnavailable
from memory.lifecycle.embed_pending import embed_memories

log = structlog.get_logger(__name__)

# The first text of an installation waits until its embedder has started.
_EMBEDDING_SECONDS = 30.0


async def remember_ended_turn(context: TurnContext) -> None:
    """Remember what was said in the turn, so that it is found by words at once and soon by meaning. What fails is made
    up for by the jobs that compact turns and embed memories."""
    claim = context.claim
    try:
        await in_db_thread(remember_turn, claim.turn_id, release=context.release)
        if new := await in_db_thread(find_unembedded, claim.session_id, claim.turn_id):
            await embed_memories(new, timeout=_EMBEDDING_SECONDS)
    except EmbeddingUnavailable as error:
        log.warning("turn.not_embedded", turn=str(claim.turn_id), error=error.detail)
    except DATABASE_FAULTS as error:
        log.warning("turn.not_remembered", turn=str(claim.turn_id), error=str(error)[:200])
    except Exception:
        log.exception("turn.not_remembered", turn=str(claim.turn_id))
