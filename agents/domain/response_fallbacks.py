"""What people get when no model of an agent's chain has answered: which fallback comes next.

How the chain itself goes from one route to the next is `agents.domain.fallback`.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum

from agents.domain.failures import Recovery, parse_error_class


class Fallback(StrEnum):
    """What a turn ended with in place of an answer of its chain, as in rows and on the wire."""

    CACHED_RESPONSE = "cached_response"  # an earlier answer to exactly the same request
    SIMPLIFIED_RESPONSE = "simplified_response"  # of a simpler model, to the last message only
    HUMAN_HANDOFF = "human_handoff"  # a person is asked to take over
    ERROR_RESPONSE = "error_response"  # the error


# Why a cached response gave nothing, in its step.
NO_ANSWER = "no_answer"
HANDOFF_TEXT = "No model can answer at the moment. A person was asked to look at this conversation."

# What people read beside a text that no model of the chain gave.
FALLBACK_NOTES: Mapping[str, str] = {
    Fallback.CACHED_RESPONSE: "No model answers just now. This is an earlier answer to the same question.",
    Fallback.SIMPLIFIED_RESPONSE: "A simpler model answered. It has read your last message only.",
    Fallback.HUMAN_HANDOFF: "A person was asked to take over.",
}


@dataclass(frozen=True, slots=True)
class FallbackSituation:
    """What holds when a fallback is chosen. `tried`: those that this turn has tried already. `has_results`: earlier
    calls of the turn have results. `brings_results`: the question is the results of a client's tools.
    `must_call`, `must_be_json`: the client takes nothing but a call of its tools, or JSON."""

    tried: Collection[str] = ()
    has_results: bool = False
    brings_results: bool = False
    must_call: bool = False
    must_be_json: bool = False


def falls_back(error_class: str) -> bool:
    """Whether something may stand in for an answer that ended with such an error: not for a refusal of the content,
    which people must see, nor for anything that was no failure of a model."""
    parsed = parse_error_class(error_class)
    return parsed is not None and parsed.failure.recovery in _RECOVERIES


def next_fallback(
    order: Sequence[str], error_class: str, situation: FallbackSituation = FallbackSituation()
) -> Fallback | None:
    """The next fallback to try after `error_class`; None where only the error is left. A fallback is tried once in a
    turn, and only where what it gives is what was asked for."""
    if not falls_back(error_class):
        return None
    for name in map(Fallback, order):
        if name is Fallback.ERROR_RESPONSE:
            break
        if name not in situation.tried and _fits(name, situation):
            return name
    return None


def _fits(name: Fallback, situation: FallbackSituation) -> bool:
    match name:
        case Fallback.CACHED_RESPONSE:
            # Such an answer is to a turn's first request, and no tool was used for it.
            return not situation.has_results
        case Fallback.SIMPLIFIED_RESPONSE:
            return not situation.must_call and not situation.brings_results
        case _:
            return not situation.must_call and not situation.must_be_json


_RECOVERIES = frozenset(
    {Recovery.RETRY, Recovery.NEXT_ROUTE, Recovery.REST_CREDENTIAL, Recovery.COMPRESS, Recovery.FALL_BACK}
)
