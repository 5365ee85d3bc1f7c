"""What schemathesis makes of the schema: no request that it can think of gets an answer of 5xx or one that is not
declared. The gate makes the same few requests every time; `EXAMPLES=500` looks for new ones.
"""

import os
import re
from collections.abc import Callable, Iterator
from inspect import signature
from typing import Any, TypeAlias

import pytest
import requests
from hypothesis import HealthCheck, Phase, settings

from tests.support.declared import schema
from tests.support.deployment import Deployment

Test: TypeAlias = Callable[..., None]

GIVEN = os.environ.get("EXAMPLES")
UUID = re.compile("[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")
CHECKS = {
    # 412 is for an If-Match that no version of ours can equal.
    "negative_data_rejection": {"expected-statuses": [400, 401, 403, 404, 405, 406, 412, 413, 415, 422, 428]},
    "missing_required_header": {"expected-statuses": [400, 401, 403, 404, 406, 415, 422, 428]},
    # What a schema cannot say: an agent that exists, a cursor that we wrote, the version that is the present one.
    "positive_data_acceptance": {"enabled": False},
}


# What is asked at `/v1` waits for its answer.
OPERATIONS = sorted(
    operation["operationId"]
    for path, methods in schema()["paths"].items()
    for operation in methods.values()
    if not path.startswith("/v1/chat/")
)


def declared_requests(*, coverage: bool) -> Any:
    import schemathesis  # most of a second, which nobody needs who only collects
    from schemathesis.config import SchemathesisConfig

    config = SchemathesisConfig.from_dict(
        {
            "generation": {"deterministic": not GIVEN, "no-shrink": True},
            "phases": {"coverage": {"enabled": coverage}},
            "checks": CHECKS,
        }
    )
    return schemathesis.openapi.from_dict(schema(), config=config)


@pytest.fixture(scope="module")
def requests_at_bounds() -> Any:
    return declared_requests(coverage=True)


@pytest.fixture(scope="module")
def random_requests() -> Any:
    return declared_requests(coverage=False)


def for_every_operation(examples: int, *, coverage: bool) -> Callable[[Test], Test]:
    """A decorator: a test of its own in this module for every operation. `coverage` goes through the bounds of each
    parameter and field.

    schemathesis makes them while tests are collected, which every worker of xdist does: seconds of each. These make
    their requests when they run.
    """
    requests_of = "requests_at_bounds" if coverage else "random_requests"
    bounded = settings(
        max_examples=int(GIVEN or examples),
        deadline=None,
        derandomize=not GIVEN,
        database=None,
        phases=[Phase.explicit, Phase.generate],
        suppress_health_check=list(HealthCheck),
    )

    def register(test: Test) -> Test:
        @pytest.mark.parametrize("operation", OPERATIONS)
        def over_operations(operation: str, request: pytest.FixtureRequest) -> None:
            from schemathesis.core.result import Ok
            from schemathesis.pytest.lazy import get_all_tests

            fixtures = {name: request.getfixturevalue(name) for name in signature(test).parameters if name != "case"}
            only = request.getfixturevalue(requests_of).include(operation_id=operation)
            [made] = get_all_tests(schema=only, test_func=test, settings=bounded, given_kwargs={})
            assert isinstance(made, Ok), made
            made.ok()[1](**fixtures)

        return over_operations

    return register


class Caller:
    """Sends cases to a running installation; an id in an address becomes one of Ada's."""

    def __init__(self, running: Deployment) -> None:
        self._running = running
        self._http = requests.Session()
        self._http.trust_env = False
        session = self._made("sessions", {"agent": "demo"})
        turn = self._made(f"sessions/{session['id']}/turns", {"input": "What is 2 + 2?"}, Prefer="wait=30")
        self._ids = {"session_id": session["id"], "turn_id": turn["id"], "message_id": turn["answer"]["id"]}

    def _made(self, path: str, body: dict[str, Any], **headers: str) -> Any:
        headers["Authorization"] = f"Bearer {self._running.keys['ada']}"
        answer = self._http.post(f"{self._running.url}/api/v1/{path}", json=body, headers=headers, timeout=60)
        assert answer.status_code in {200, 201}, answer.text
        return answer.json()

    def send(self, case: Any, key: str) -> int:
        from schemathesis.specs.openapi.checks import negative_data_rejection

        if case.method != "DELETE":
            for name, value in (case.path_parameters or {}).items():
                if name in self._ids and isinstance(value, str) and UUID.fullmatch(value):
                    case.path_parameters[name] = self._ids[name]
        headers = {"Authorization": f"Bearer {key}"}
        if "wait" in str((case.headers or {}).get("Prefer")):
            headers["Prefer"] = "wait=0"  # the queue is full of such messages, and nobody here wants an answer
        # HTTP knows no unknown headers, so one that was made up spoils nothing.
        spared = [negative_data_rejection] if "x-schemathesis-unknown-property" in (case.headers or {}) else []
        answer = case.call_and_validate(self._running.url, self._http, headers, excluded_checks=spared)
        return int(answer.status_code)

    def close(self) -> None:
        self._http.close()


@pytest.fixture(scope="module")
def caller(running: Deployment) -> Iterator[Caller]:
    made = Caller(running)
    yield made
    made.close()


@for_every_operation(5, coverage=True)
def test_with_a_key(case: Any, running: Deployment, caller: Caller) -> None:
    caller.send(case, running.keys["ada"])


@for_every_operation(2, coverage=False)
def test_with_a_key_that_may_only_read(case: Any, running: Deployment, caller: Caller) -> None:
    status = caller.send(case, running.keys["reader"])
    # A search reads, but its question may be long, and is a body.
    assert case.method == "GET" or status >= 400 or case.path.endswith("/search")


@for_every_operation(2, coverage=False)
def test_with_the_key_of_somebody_else(case: Any, running: Deployment, caller: Caller) -> None:
    status = caller.send(case, running.keys["eve"])
    assert status >= 400 or "session_id" not in (case.path_parameters or {})


@for_every_operation(2, coverage=False)
def test_with_a_key_that_is_none(case: Any, caller: Caller) -> None:
    assert caller.send(case, "bs_nonsense") in {401, 405}
