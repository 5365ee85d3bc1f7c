"""The list of runners, with the retry policies below it."""

import re

import pytest

from accounts.roles import Role
from agents.domain.retry_policies import OperationKind
from agents.models import Runner
from tests.support.consoles import client_of, list_of

pytestmark = pytest.mark.django_db


def test_the_retry_policy_of_each_operation_stands_below_the_runners() -> None:
    page = client_of("oskar", Role.OPERATOR).get(list_of(Runner)).content.decode()
    rows = re.findall(r"<tr><th scope=\"row\">(.*?)</th><td>(.*?)</td><td>(.*?)</td></tr>", page)
    assert [row[0] for row in rows] == [operation.replace("_", " ") for operation in OperationKind]
    assert rows[0] == (
        "llm call",
        "2 for each route, 3 for the last one, in all 2 more than there are routes",
        "random, up to 0.5 s, then twice as much each time, up to 20 s; "
        "more than 5 s only where no other route is left",
    )
    assert rows[1][1:] == ("1", "none: it is not tried again")
    assert "500 tokens for each provider" in page
