"""What a call of a model may cost is reserved before it is made; where nothing limits it this costs nothing."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import Final

from agents.budgets.reservations import BudgetRequest, BudgetWarning, MustWait, Refused, Reserved
from agents.domain.budgets import RefusalReason
from agents.domain.events import EventType, QuotaWarning
from agents.domain.serialization import moment
from agents.domain.states import WaitReason
from agents.domain.token_estimates import count_tokens, estimate_tokens
from agents.domain.waits import Park
from agents.engine.context import TurnContext
from agents.engine.ports import Services
from agents.engine.progress import TurnProgress
from agents.engine.prompt import AssembledRequest
from agents.journal.fenced_writes import LostTurn, NewEvent
from agents.llm.errors import BudgetExceeded, PriceUnknown
from foundation.clock import now

# A turn that waits for money looks again after this, should nobody wake it.
LONGEST_WAIT: Final = timedelta(minutes=5)
LEAST_WAIT: Final = timedelta(seconds=1)
# Of each message, and of the whole: roles, marks of their ends, what a model's template adds.
_FORM_BYTES: Final = 16


async def reserve_call(
    services: Services,
    context: TurnContext,
    progress: TurnProgress,
    *,
    step: int,
    route: str,
    assembled: AssembledRequest,
    may_wait: bool,
) -> tuple[AssembledRequest, int | None]:
    """`assembled`, which asks for no more output than there is money for, and the id of its reservation; None where no
    budget applies.

    Raises `BudgetExceeded`, `PriceUnknown`, `Park` where others must settle first, `LostTurn`, and database errors.
    """
    claim = context.claim
    if not services.budgets.applies(user_id=claim.user_id, agent_id=context.agent_id):
        return assembled, None
    request = assembled.request
    size = request_bytes(assembled)
    most = request.max_output_tokens or context.release.context_policy.answer_tokens
    most = max(1, min(most, progress.remaining_output_tokens))
    reply = await services.budgets.reserve(
        BudgetRequest(
            user_id=claim.user_id,
            agent_id=context.agent_id,
            session_id=claim.session_id,
            turn_id=claim.turn_id,
            step=step,
            epoch=claim.epoch,
            route=route,
            price=await services.models.price_bound(route, input_tokens=size),
            estimated_tokens=count_tokens(request.messages, estimate_tokens) + estimate_tokens(assembled.tools_text),
            bytes=size,
            window=assembled.known_window,
            output_tokens=most,
            least_output_tokens=context.release.limits.least_output_tokens,
            may_wait=may_wait,
        )
    )
    match reply:
        case Refused(reason=RefusalReason.PRICE_UNKNOWN):
            raise PriceUnknown(f"Nobody knows the price of {route}, and a budget in dollars applies.")
        case Refused(reason=RefusalReason.LOST):
            raise LostTurn
        case Refused(reason=RefusalReason.BUSY):
            raise BudgetExceeded("What is left of a budget is reserved for other calls.")
        case Refused(reason=RefusalReason.TOO_LARGE):
            raise BudgetExceeded(f"Budget {reply.budget_id} is smaller than this call.", is_too_large=True)
        case Refused():
            raise BudgetExceeded(f"Budget {reply.budget_id} has too little left.", resets_at=reply.resets_at)
        case MustWait():
            # The clock of the database may be behind ours when a window ends.
            until = max(min(reply.resets_at, now() + LONGEST_WAIT), now() + LEAST_WAIT)
            raise Park(until, WaitReason.BUDGET)
        case Reserved():
            for warning in reply.warnings:
                progress.add_event(_warning_event(warning))
            if reply.id is None:
                return assembled, None
            limited = replace(request, max_output_tokens=reply.output_tokens)
            return replace(assembled, request=limited), reply.id


def request_bytes(assembled: AssembledRequest) -> int:
    """The bytes of all texts of a request, and of what its form adds: more than it can have tokens."""
    request = assembled.request
    size = _FORM_BYTES * (len(request.messages) + 1)
    size += count_tokens(request.messages, lambda text: len(text.encode())) + len(assembled.tools_text.encode())
    return size + (len(repr(request.json).encode()) if request.json is not None else 0)


def _warning_event(warning: BudgetWarning) -> NewEvent:
    return NewEvent(
        EventType.QUOTA_WARNING,
        QuotaWarning(
            budget=str(warning.budget_id),
            subject=warning.subject,
            unit=warning.unit,
            period=warning.period,
            used_percent=warning.used_percent,
            resets_at=moment(warning.resets_at),
        ),
    )
