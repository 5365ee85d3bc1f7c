"""What an OpenAI client is told of a turn that ended without an answer."""

from typing import Any

import pytest

from agents.domain.states import TurnStatus
from agents.openai_api.errors import CompletionFailed
from agents.sessions.openai_completions.completion_result import CompletionResult


def ended(status: TurnStatus, error: dict[str, Any] | None = None) -> CompletionFailed:
    result = CompletionResult(status, "", "", [], cut=False, input_tokens=0, output_tokens=0, error=error)
    return CompletionFailed(result)


@pytest.mark.parametrize(
    ("error_class", "status"), [("set_aside", 409), ("worker_crashed", 500), ("transient", 502), ("deadline", 504)]
)
def test_the_status_says_whose_doing_it_was(error_class: str, status: int) -> None:
    told = ended(TurnStatus.FAILED, {"error_class": error_class, "detail": "Words.", "error_id": None})
    assert (told.status, told.own_code) == (status, error_class)
