"""What an OpenAI client is told of a turn that ended without an answer."""

import json
from datetime import timedelta
from typing import Any

import pytest

from agents.domain.serialization import moment
from agents.domain.states import TurnStatus
from agents.openai_api.errors import CompletionFailed, openai_error_response
from agents.sessions.errors import BudgetExhausted
from agents.sessions.openai_completions.completion_result import CompletionResult
from foundation.clock import now


def ended(status: TurnStatus, error: dict[str, Any] | None = None) -> CompletionFailed:
    result = CompletionResult(status, "", "", [], cut=False, input_tokens=0, output_tokens=0, error=error)
    return CompletionFailed(result)


@pytest.mark.parametrize(
    ("error_class", "status"), [("set_aside", 409), ("worker_crashed", 500), ("transient", 502), ("deadline", 504)]
)
def test_the_status_says_whose_doing_it_was(error_class: str, status: int) -> None:
    told = ended(TurnStatus.FAILED, {"error_class": error_class, "detail": "Words.", "error_id": None})
    assert (told.status, told.own_code) == (status, error_class)


def test_a_budget_that_is_used_up_is_told_as_openai_does_and_when_it_begins_anew() -> None:
    resets_at = moment(now() + timedelta(hours=1))
    failed = ended(
        TurnStatus.FAILED,
        {"error_class": "budget_exceeded", "detail": "Used up.", "error_id": None, "retry_at": resets_at},
    )
    refused = BudgetExhausted("Used up.", retry_after_seconds=3_599.5)
    for error in (failed, refused):
        response = openai_error_response(error, actor=None, method="POST", path="/v1/chat/completions")
        assert (response.status_code, response["Retry-After"]) == (429, "3600")
        assert response["X-Should-Retry"] == "false"
        body = json.loads(response.content)["error"]
        assert body == {
            "message": "Used up.",
            "type": "insufficient_quota",
            "code": "insufficient_quota",
            "param": None,
        }
