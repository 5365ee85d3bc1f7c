"""What follows a turn for the memory: its messages become episodes, with vectors, and a model may look for facts."""

from __future__ import annotations

import structlog

from agents.engine.context import TurnContext
from agents.sessions.turn_episodes import remember_turn
from foundation.db_threads import DATABASE_FAULTS, in_db_thread

log = structlog.get_logger(__name__)


async def remember_ended_turn(context: TurnContext) -> None:
    """Remember what was said in the turn. What fails is made up for when the turn is compacted."""
    turn_id = context.claim.turn_id
    try:
        await in_db_thread(remember_turn, turn_id, release=context.release)
    except DATABASE_FAULTS as error:
        log.warning("turn.not_remembered", turn=str(turn_id), error=str(error)[:200])
    except Exception:
        log.exception("turn.not_remembered", turn=str(turn_id))
