"""Calls for side work draw on budgets, too. They never wait for money: without any they are not made."""

from __future__ import annotations

from dataclasses import replace
from typing import Final

from agents.budgets.reservations import BudgetRequest, Refused, Reserved
from agents.domain.budgets import RefusalReason
from agents.domain.token_estimates import count_tokens, estimate_tokens
from agents.engine.ports import Services
from agents.journal.utility_calls import UtilityOwner
from agents.llm.errors import BudgetExceeded, PriceUnknown
from agents.llm.interface import ModelRequest

# An outcome that is not written so long after its call should have ended will never be.
_GRACE_SECONDS: Final = 60.0


async def reserve_utility_call(
    services: Services,
    owner: UtilityOwner,
    *,
    call_id: int,
    purpose: str,
    route: str,
    request: ModelRequest,
    seconds: float,
) -> tuple[ModelRequest, int | None]:
    """`request`, which asks for no more output than there is money for, and the id of its reservation; None where no
    budget applies. The call ends within `seconds`.

    Raises `BudgetExceeded`, `PriceUnknown`, and database errors.
    """
    if not services.budgets.applies(user_id=owner.user_id, agent_id=owner.agent_id):
        return request, None
    size = count_tokens(request.messages, lambda text: len(text.encode()))
    reply = await services.budgets.reserve(
        BudgetRequest(
            user_id=owner.user_id,
            agent_id=owner.agent_id,
            session_id=owner.session_id,
            turn_id=owner.turn_id,
            utility_call_id=call_id,
            purpose=purpose,
            route=route,
            price=await services.models.price_bound(route, input_tokens=size),
            estimated_tokens=count_tokens(request.messages, estimate_tokens),
            bytes=size,
            output_tokens=request.max_output_tokens or 1,
            # What is cut is of no use to anybody.
            least_output_tokens=request.max_output_tokens or 1,
            lease_seconds=max(0.0, seconds) + _GRACE_SECONDS,
        )
    )
    match reply:
        case Reserved():
            if reply.id is None:
                return request, None
            return replace(request, max_output_tokens=reply.output_tokens), reply.id
        case Refused(reason=RefusalReason.PRICE_UNKNOWN):
            raise PriceUnknown(f"Nobody knows the price of {route}, and a budget in dollars applies.")
        case Refused():
            raise BudgetExceeded("Side work does not wait for money.", resets_at=reply.resets_at)
    raise AssertionError("side work never waits for money")
