"""Ended turns with steps, written with the times that a test needs."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any

from agents.models import AgentSession, Step, Turn
from foundation.ids import derive_id, new_id


@dataclass(frozen=True, slots=True)
class PastStep:
    """A step that was open from `start` to `end`, in seconds after its turn was accepted."""

    start: float
    end: float
    kind: str = "model"
    name: str = "openai:gpt-4o"
    status: str = "done"
    error_class: str = ""
    epoch: int = 1
    input_tokens: int | None = None
    output_tokens: int | None = None
    cost_usd: Decimal | None = None
    details: Mapping[str, Any] = field(default_factory=dict)


def past_turn(
    session: AgentSession,
    *,
    ended_at: datetime,
    seconds: float = 2.0,
    queue: float | None = 0.1,
    status: str = "completed",
    error_class: str = "",
    steps: Sequence[PastStep] = (),
    **columns: Any,
) -> Turn:
    """A turn that was accepted `seconds` before it ended; `queue` None: it was never claimed. As of every turn, its id
    says when it was accepted: lists are bounded by it."""
    queued_at = ended_at - timedelta(seconds=seconds)
    session.next_ordinal += 1
    session.save(update_fields=["next_ordinal"])
    times = {
        "queued_at": queued_at,
        "started_at": None if queue is None else queued_at + timedelta(seconds=queue),
        "finished_at": ended_at,
        "deadline_at": ended_at,
    }
    others = {"input_tokens": 0, "output_tokens": 0, "cost_usd": Decimal(0), "fingerprint": b""}
    turn = Turn.objects.create(
        id=derive_id(queued_at, new_id()),
        agent_session=session,
        user_id=session.user_id,
        release_id=session.release_id,
        ordinal=session.next_ordinal,
        status=status,
        error_class=error_class,
        epoch=1,
        **times | others | columns,
    )
    Step.objects.bulk_create(_rows(turn, steps))
    return turn


def _rows(turn: Turn, steps: Sequence[PastStep]) -> Iterator[Step]:
    for number, step in enumerate(steps, 1):
        yield Step(
            turn=turn, number=number, kind=step.kind, status=step.status, epoch=step.epoch, name=step.name,
            error_class=step.error_class, input_tokens=step.input_tokens, output_tokens=step.output_tokens,
            cost_usd=step.cost_usd, details=dict(step.details),
            started_at=turn.queued_at + timedelta(seconds=step.start),
            finished_at=turn.queued_at + timedelta(seconds=step.end),
        )  # fmt: skip
