"""Each check of the area of dependencies passes, and fails where it should."""

from __future__ import annotations

from collections.abc import Iterable

import pytest
from django.db import connection
from pydantic import SecretStr

from agents.models import Runner
from monitoring.readiness_validator.areas.dependency_checks import call_models, check
from monitoring.readiness_validator.check_lines import CheckLine
from tests.provider import Provider
from tests.provider.fixture import provider
from tests.support.readiness import candidate, outcomes, scope

__all__ = ["provider"]


@pytest.mark.django_db
def test_what_the_installation_lacks_is_said() -> None:
    found = outcomes(check(scope(candidate())))
    assert found["database"] == found["pgvector"] == found["vector store"] == "passed"
    assert found["runner"] == found["scheduler"] == "failed", "none is at work in this test"
    Runner.objects.create(host="host", pid=1, capacity=1)
    assert outcomes(check(scope(candidate())))["runner"] == "passed"


@pytest.mark.django_db
def test_a_database_that_forgets_fails() -> None:
    with connection.cursor() as cursor:
        cursor.execute("SET LOCAL synchronous_commit = on")
    assert outcomes(check(scope()))["durability"] == "passed"
    with connection.cursor() as cursor:
        cursor.execute("SET LOCAL synchronous_commit = off")
    assert outcomes(check(scope()))["durability"] == "failed"


async def called(provider: Provider, *routes: str) -> list[CheckLine]:
    one = scope(
        candidate(model_chain=list(routes)), openai_base_url=provider.base_url, openai_api_key=SecretStr("sk-canary-1")
    )
    return await call_models(one)


def names(lines: Iterable[CheckLine]) -> list[str]:
    return [f"{line.name}: {line.outcome}" for line in lines]


async def test_each_model_is_called_once_with_few_tokens(provider: Provider) -> None:
    assert names(await called(provider, "openai:fake", "offline:")) == ["call of openai:fake: passed"]
    [request] = provider.requests
    assert request.body["max_tokens"] <= 64


@pytest.mark.parametrize("fault", ["401", "404", "503", "close"])
async def test_a_model_that_does_not_answer_fails_and_no_key_is_shown(provider: Provider, fault: str) -> None:
    [line] = await called(provider, f"openai:fake.fault-{fault}")
    assert line.outcome == "failed"
    assert line.route == f"openai:fake.fault-{fault}"
    assert line.remedy
    assert "sk-canary" not in line.message


async def test_more_models_than_it_calls_are_named(provider: Provider) -> None:
    lines = await called(provider, *(f"openai:fake-{number}" for number in range(9)))
    assert [line.outcome.value for line in lines] == ["passed"] * 8 + ["warning"]
