"""Claims and leases: which runner owns which turn, by the database's clock."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, replace
from uuid import UUID

import psycopg

from agents.domain.session_purposes import SessionPurpose
from agents.domain.states import BACKGROUND_PATIENCE, Priority
from agents.journal import sql
from agents.journal.queries import fetch
from foundation.clock import now
from foundation.ids import lowest_id


@dataclass(frozen=True, slots=True)
class Claim:
    """The right to write one turn, until it is claimed again, with a higher epoch.

    `remaining_seconds` is the time until its deadline, measured at the claim. `resumed`: the turn comes back from a
    wait, so its partial answer stays visible, and steps that are open have not been tried. `priority` is interactive
    for a turn of the background that has waited for long. `release_id` is never a withdrawn release in a session of
    production. `purpose` is that of the session.
    """

    turn_id: UUID
    session_id: UUID
    release_id: UUID
    epoch: int
    user_id: int
    remaining_seconds: float
    resumed: bool = False
    priority: int = Priority.INTERACTIVE
    purpose: str = SessionPurpose.PRODUCTION


def claim(
    *,
    runner_id: UUID,
    limit: int,
    running_per_user: int,
    lease_seconds: float,
    by_age: bool = False,
    on: psycopg.Connection | None = None,
) -> list[Claim]:
    """Claim up to `limit` turns, each the first open one of its session, with a lease of `lease_seconds`: interactive
    ones first. `by_age`: turns of the background that have waited for long are among these; callers must do so now and
    then.

    A user's running turns are counted without a lock: two runners that claim at the same moment may exceed
    `running_per_user` by what one of them claims. `on` is a connection to use instead of Django's.
    """
    aged = lowest_id(now() - BACKGROUND_PATIENCE)
    rows = fetch(
        sql.CLAIM_BY_AGE if by_age else sql.CLAIM,
        {
            "runner": runner_id,
            "limit": limit,
            "running_per_user": running_per_user,
            "lease_seconds": lease_seconds,
            "aged": aged,
        },
        on=on,
    )
    new_claims = [Claim(*row[:9]) for row in rows]
    return [
        replace(one, priority=Priority.INTERACTIVE) if one.priority and one.turn_id < aged else one
        for one in new_claims
    ]


def renew(
    *, runner_id: UUID, turns: Collection[UUID], lease_seconds: float, on: psycopg.Connection | None = None
) -> dict[UUID, int]:
    """Extend the leases of `turns` and return the epoch of each that this runner still owns. The others are lost."""
    rows = fetch(sql.RENEW, {"runner": runner_id, "turns": list(turns), "lease_seconds": lease_seconds}, on=on)
    return dict(rows)


def cancelling_turns(turns: Collection[UUID], *, on: psycopg.Connection | None = None) -> list[UUID]:
    """Those of `turns` that are to be cancelled, or were, by whoever took control of their session."""
    return [row[0] for row in fetch(sql.CANCELLING, {"turns": list(turns)}, on=on)]
