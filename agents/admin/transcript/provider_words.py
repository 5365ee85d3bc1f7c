"""What a model's provider said about a call, from `Step.details`: for operators, never for the people who chat."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from django.db.models import Case, JSONField, OuterRef, Q, Subquery, When
from django.db.models.fields.json import KeyTransform
from django.db.models.functions import JSONObject

from agents.domain.failures import ErrorClass
from agents.domain.states import StepKind, StepStatus
from agents.models import Step
from foundation.graphemes import cut_text

# Of the words of an error, in a list.
_MAX_LINE = 120
# What the details hold besides notes.
_NO_NOTES = frozenset(
    {
        "attempt", "cached_tokens", "context", "error", "estimated_output_tokens", "first_token_seconds", "gave_up",
        "reasoning_tokens", "recall_seconds", "request", "request_id", "right", "seconds",
    }
)  # fmt: skip

# The error in the details of a turn's last failed step, for the rows of a page of turns.
LAST_ERROR = Case(
    When(
        ~Q(error_class=""),
        then=Subquery(
            Step.objects.filter(turn_id=OuterRef("pk"), status=StepStatus.FAILED)
            .exclude(kind=StepKind.FALLBACK)
            .order_by("-number")
            .values(last=JSONObject(error=KeyTransform("error", "details"), error_class="error_class"))[:1]
        ),
    ),
    output_field=JSONField(),
)


def describe_error(step: Step, *, readable: bool) -> str:
    """The provider's error in one line: "HTTP 429 rate_limit_exceeded: Slow down. · retry after 7 s · request req_1";
    "" without one. The words of a refusal are part of the conversation, so they are left out unless `readable`."""
    return _describe(step.details.get("error") or {}, with_words=readable or not _is_refusal(step.error_class))


def shorten_error(last: Mapping[str, Any] | None) -> str:
    """What `LAST_ERROR` has read, for a list, whose readers may not read every conversation."""
    if last is None or last["error"] is None:
        return ""
    return cut_text(_describe(last["error"], with_words=not _is_refusal(last["error_class"])), _MAX_LINE)


def _is_refusal(error_class: str) -> bool:
    return error_class == ErrorClass.CONTENT_FILTER


def _describe(error: Mapping[str, Any], *, with_words: bool) -> str:
    message = error.get("message", "") if with_words else ""
    status = f"HTTP {error['status']}" if "status" in error else ""
    head = " ".join(filter(None, (status, error.get("code"))))
    after, request = error.get("retry_after_seconds"), error.get("request_id")
    facts = (
        ": ".join(filter(None, (head, message))),
        f"retry after {after:g} s" if after is not None else "",
        f"request {request}" if request else "",
    )
    return " · ".join(filter(None, facts))


def describe_notes(details: Mapping[str, Any]) -> str:
    """What was odd about the answer or its request: "unconfirmed end, finish reason: xyz"; "" for nothing."""
    return ", ".join(_describe_note(name, value) for name, value in details.items() if name not in _NO_NOTES and value)


def _describe_note(name: str, value: Any) -> str:
    label = name.replace("_", " ")
    if value is True:
        return label
    if isinstance(value, dict):
        value = [f"{one.replace('_', ' ')} {number}" for one, number in value.items()]
    shown = ", ".join(map(str, value)) if isinstance(value, list) else str(value)
    return f"{label}: {cut_text(shown, _MAX_LINE)}"
