"""Earlier answers that may be shown again, found by what their models were sent."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

import orjson

from agents.domain.message_parts import plain_text
from agents.journal import sql
from agents.journal.claims import Claim
from agents.journal.queries import fetch


@dataclass(frozen=True, slots=True)
class CachedAnswer:
    """An answer that the turn `turn_id` ended with."""

    text: str
    answered_at: datetime
    turn_id: UUID


def find_cached_answer(claim: Claim, *, prompt_hash: bytes, hours: int) -> CachedAnswer | None:
    """The newest answer of the last `hours` to the same request, of the claim's own user and release; None where there
    is none, or where the user did not like it."""
    params = {"user": claim.user_id, "release": claim.release_id, "prompt_hash": prompt_hash, "hours": hours}
    rows = fetch(sql.CACHED_ANSWER, params)
    if not rows:
        return None
    [(parts, answered_at, turn_id)] = rows
    return CachedAnswer(plain_text(orjson.loads(parts)), answered_at, turn_id)
