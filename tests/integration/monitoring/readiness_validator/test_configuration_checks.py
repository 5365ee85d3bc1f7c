"""Each check of the area of configuration passes, and fails where it should."""

from __future__ import annotations

from typing import Any

import pytest

from agents.llm.dialect_settings import read_dialects
from agents.models import Budget
from monitoring.readiness_validator.areas.configuration_checks import check
from tests.support.readiness import candidate, outcomes, scope

pytestmark = pytest.mark.django_db


def test_a_good_configuration_passes() -> None:
    assert outcomes(check(scope(candidate(model_chain=["openai:gpt-5-mini"])))) == {
        "runnable": "passed",
        "instructions": "passed",
        "rights of tools": "passed",
        "model": "passed",
        "context window": "passed",
        "prices": "passed",
        "circuit breaker": "passed",
        "limits": "passed",
    }


@pytest.mark.parametrize(
    ("settings", "config", "name", "outcome"),
    [
        ({"model_chain": ["nobody:model"]}, {}, "runnable", "failed"),
        ({"tools": ["no_such_tool"]}, {}, "runnable", "failed"),
        ({"shoe_size": 43}, {}, "runnable", "failed"),
        ({"instructions": " "}, {}, "instructions", "warning"),
        ({"tools": ["notebook_add", "http_fetch"]}, {}, "rights of tools", "warning"),
        ({"tools": ["notebook_add"], "memory": {"recall": True}}, {}, "rights of tools", "warning"),
        ({"tools": ["notebook_add", "clock"]}, {}, "rights of tools", "passed"),
        ({"tools": ["remember", "http_fetch"]}, {}, "rights of tools", "passed"),
        (
            {
                "tools": ["notebook_add", "http_fetch"],
                "tool_rights": {"notebook_add": {"right": "allow", "untrusted": "ask"}},
            },
            {},
            "rights of tools",
            "passed",
        ),
        ({}, {}, "model", "warning"),
        (
            {"model_chain": ["openai:small"]},
            {"dialects": read_dialects("openai:small=+window=1500")},
            "context window",
            "failed",
        ),
        ({"instructions": "Be brief. " * 9_000, "model_chain": ["openai:gpt-4"]}, {}, "context window", "failed"),
        ({"model_chain": ["openai:unheard-of"]}, {}, "context window", "warning"),
        ({"model_chain": ["openai:unheard-of"]}, {}, "prices", "warning"),
        ({}, {"breaker_failures": 1000, "breaker_failed_percent": 100}, "circuit breaker", "failed"),
        ({}, {"messages_per_minute": 0}, "limits", "failed"),
        ({}, {"failed_logins_per_account": 0}, "limits", "failed"),
    ],
)
def test_what_is_wrong_is_said_with_what_to_do(
    settings: dict[str, Any], config: dict[str, Any], name: str, outcome: str
) -> None:
    assert outcomes(check(scope(candidate(**settings), **config)))[name] == outcome


def test_an_installation_without_a_release_is_said_to_be_one() -> None:
    assert outcomes(check(scope()))["agents"] == "warning"


def test_an_unknown_price_is_a_fault_where_a_budget_in_dollars_applies() -> None:
    Budget.objects.create(subject="everybody", unit="usd", period="month", amount=1)
    unheard_of = scope(candidate(model_chain=["openai:unheard-of"]))
    assert outcomes(check(unheard_of))["prices"] == "failed"
