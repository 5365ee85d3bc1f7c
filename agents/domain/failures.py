"""What can go wrong with a turn or a step: a closed set of error classes, and the properties of each.

Rows and the wire hold a class by its name. Code that shows, counts, maps or recovers from failures reads them here; no
other module spells out the name of a class.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum, StrEnum, auto


class Recovery(Enum):
    """What may be done when one call of a model failed, before its turn fails."""

    RETRY = auto()  # ask the same route again after a pause (`Retry-After` is its floor), then the next one
    NEXT_ROUTE = auto()  # ask the next route, once
    REST_CREDENTIAL = auto()  # leave the route's credential alone for a while, tell an operator, ask the next route
    COMPRESS = auto()  # make the context smaller and ask again, once
    REFUSE = auto()  # show the refusal; never reword the question in silence
    TELL_MODEL = auto()  # the model reads it as the result of its tool
    FALL_BACK = auto()  # what the agent's release names for the case that nothing helps
    NOTHING = auto()


@dataclass(frozen=True, slots=True, kw_only=True)
class Failure:
    """The properties of an error class.

    `meaning` is for programmers and documents, `user_message` for users where the error has no more exact detail,
    `remedy` for operators. `status` and `code` are those of `/v1`, for a turn that ended with it; an empty code is the
    name of the class. `retry_suggested`: a later retry may succeed; `alarms`: operators are alerted; `ends_turns`:
    turns end with it, not only steps. `recovery` is None where no model call fails like this; `charges_breaker`: such a
    call counts as a failure of its route.
    """

    meaning: str
    user_message: str
    remedy: str
    status: int = 500
    code: str = ""
    retry_suggested: bool = False
    alarms: bool = True
    ends_turns: bool = True
    recovery: Recovery | None = None
    charges_breaker: bool = False


class ErrorClass(StrEnum):
    """The name of each class, as in rows and on the wire."""

    TRANSIENT = "transient"
    RATE_LIMIT = "rate_limit"
    CONTEXT_LENGTH = "context_length"
    CONTENT_FILTER = "content_filter"
    EMPTY_ANSWER = "empty_answer"
    AUTH = "auth"
    BAD_REQUEST = "bad_request"
    TOOL_ERROR = "tool_error"
    LIMIT_REACHED = "limit_reached"
    BUDGET_EXCEEDED = "budget_exceeded"
    PRICE_UNKNOWN = "price_unknown"
    WORKER_CRASHED = "worker_crashed"
    TOOL_STALLED = "tool_stalled"
    SET_ASIDE = "set_aside"
    DEADLINE = "deadline"
    UNKNOWN = "unknown"
    CANCELLED = "cancelled"
    DIVERGED = "diverged"

    @property
    def failure(self) -> Failure:
        return _FAILURES[self]

    @property
    def code(self) -> str:
        """The error's code in responses of `/v1`."""
        return self.failure.code or self.value


_FAILURES = {
    ErrorClass.TRANSIENT: Failure(
        meaning="The model was not reached, was too slow or overloaded, or broke off its answer.",
        user_message="The model could not be reached or broke off its answer. Try again in a moment.",
        remedy="The provider does not answer properly. When it does again: select all, Retry.",
        status=502,
        retry_suggested=True,
        recovery=Recovery.RETRY,
        charges_breaker=True,
    ),
    ErrorClass.RATE_LIMIT: Failure(
        meaning="The provider got too many requests or tokens in a minute.",
        user_message="The model has too much to do at the moment.",
        remedy="The provider asks us to slow down. When it is over: select all, Retry.",
        status=429,
        code="model_rate_limit",
        retry_suggested=True,
        recovery=Recovery.RETRY,
    ),
    ErrorClass.CONTEXT_LENGTH: Failure(
        meaning="The provider refused the request as too long, and half of it, too.",
        user_message="The conversation is longer than the model can read. Begin a new chat, or ask for less at once.",
        remedy="Is the context window of the model known here (Routes)? BANDSTAND_DIALECT sets it. Then Retry.",
        status=400,
        code="context_length_exceeded",
        recovery=Recovery.COMPRESS,
    ),
    ErrorClass.CONTENT_FILTER: Failure(
        meaning="The provider refused the question or its own answer.",
        user_message="The model's provider refused this content. Ask in other words.",
        remedy="The provider refuses the question or its answer: ask otherwise. It is never rewritten silently.",
        status=400,
        recovery=Recovery.REFUSE,
    ),
    ErrorClass.EMPTY_ANSWER: Failure(
        meaning="The model ended its answer without a word and without a call of a tool.",
        user_message="The model gave no answer. Try again.",
        remedy="The model said nothing: select all, Retry. If it always does, its steps show what came instead.",
        status=502,
        retry_suggested=True,
        recovery=Recovery.RETRY,
    ),
    ErrorClass.AUTH: Failure(
        meaning="The key is wrong, or the account has no credit, quota or right to the model.",
        user_message="This agent cannot use its model. Trying again does not help: tell whoever runs this service.",
        remedy="The provider refuses our key: put in one that works, then select all, Retry.",
        status=502,
        recovery=Recovery.REST_CREDENTIAL,
    ),
    ErrorClass.BAD_REQUEST: Failure(
        meaning="There is no such model, its libraries are missing, its address is wrong, or it does not take this.",
        user_message="This agent's model takes no such request. Trying again does not help: tell whoever runs it.",
        remedy="The route or its settings are wrong, which the step says: correct them, then select all, Retry.",
        status=502,
        recovery=Recovery.NEXT_ROUTE,
    ),
    ErrorClass.TOOL_ERROR: Failure(
        meaning="A tool failed. The model is told so and goes on; a turn ends with it only at the provider's side.",
        user_message="A tool failed on the provider's side.",
        remedy="Open one: its steps say what went wrong.",
        recovery=Recovery.TELL_MODEL,
    ),
    ErrorClass.LIMIT_REACHED: Failure(
        meaning="The turn used all the model calls, tool calls or output tokens that its release allows.",
        user_message="The turn used all that its agent may use.",
        remedy="The agent reached a limit of its draft: raise it, or see in the steps what goes in circles.",
    ),
    ErrorClass.BUDGET_EXCEEDED: Failure(
        meaning="A budget has too little left for the call, even if nothing of what is reserved were used.",
        user_message="The budget for this is used up.",
        remedy="A budget is used up: Budgets says which, and when it begins anew. An owner can override it.",
        status=429,
        code="insufficient_quota",
        recovery=Recovery.NEXT_ROUTE,
    ),
    ErrorClass.PRICE_UNKNOWN: Failure(
        meaning="A budget in dollars applies, and nobody knows what the model costs.",
        user_message="This agent cannot use its model. Trying again does not help: tell whoever runs this service.",
        remedy="Nobody knows the price of the model, and a budget in dollars applies: enter it under Prices.",
        status=502,
        recovery=Recovery.NEXT_ROUTE,
    ),
    ErrorClass.WORKER_CRASHED: Failure(
        meaning="The turn lost its runner again and again, without one finished step between.",
        user_message="The worker stopped several times while it worked on this message.",
        remedy="Runners died at this: read their logs before you retry.",
        retry_suggested=True,
    ),
    ErrorClass.TOOL_STALLED: Failure(
        meaning="The turn lost its runner twice while a tool of it ran: the tool stops the process that it runs in.",
        user_message="A tool stopped the worker twice while it worked on this message.",
        remedy="A tool blocks or ends its process; the runner's log says where. Isolate or mend it, then retry.",
    ),
    ErrorClass.SET_ASIDE: Failure(
        meaning="An operator ended the turn, so that its session goes on.",
        user_message="An operator ended the work on this message.",
        remedy="Nothing: somebody decided it.",
        status=409,
        alarms=False,
    ),
    ErrorClass.DEADLINE: Failure(
        meaning="The turn took longer than it may, or nobody could begin it in time.",
        user_message="The turn took longer than it may.",
        remedy="Nobody could answer in time: are runners up, and do they have room?",
        status=504,
    ),
    ErrorClass.UNKNOWN: Failure(
        meaning="Something that nobody foresaw.",
        user_message="Something went wrong on our side.",
        remedy="Open one: its steps say what went wrong.",
        retry_suggested=True,
        recovery=Recovery.FALL_BACK,
    ),
    ErrorClass.CANCELLED: Failure(
        meaning="Somebody stopped the turn while the step was open. The turn itself has no error then.",
        user_message="The turn was stopped.",
        remedy="Nothing: somebody wanted it.",
        status=409,
        code="turn_cancelled",
        alarms=False,
        ends_turns=False,
        recovery=Recovery.NOTHING,
    ),
    ErrorClass.DIVERGED: Failure(
        meaning="In an evaluation the model called a tool as the recorded conversation does not have it.",
        user_message="This replay of a recorded conversation went another way than the recording.",
        remedy="Only replays of test sets end so, and nothing was called. The report shows what was called instead.",
        alarms=False,
    ),
}

# Classes that a turn can end with.
ERROR_CLASSES = tuple(error_class.value for error_class in ErrorClass if error_class.failure.ends_turns)
# Classes that raise no alert.
SILENT_CLASSES = tuple(error_class.value for error_class in ErrorClass if not error_class.failure.alarms)


def parse_error_class(name: str) -> ErrorClass | None:
    """The class called `name`; None for "" and for a class that only a newer version knows."""
    return ErrorClass(name) if name in _FAILURES else None
