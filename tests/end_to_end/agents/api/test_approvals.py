"""Approvals over REST."""

from __future__ import annotations

import json
from typing import Any

import pytest

from accounts.roles import Role
from agents.domain.approvals import Decider
from tests.support.approvals import ARGUMENTS, approval_of, wait_for_person
from tests.support.conversations import conversation
from tests.support.people import key_of, person
from tests.support.rest import Rest, problem

pytestmark = pytest.mark.usefixtures("transactional_db")


def ok(answer: Any) -> dict[str, Any]:
    assert answer.status_code == 200, answer.content
    body: dict[str, Any] = json.loads(answer.content)
    return body


def test_a_user_reads_what_waits_and_decides_once() -> None:
    ada = person("ada", Role.USER)
    rest, talk = Rest(key_of(ada)), conversation("ada")
    wait_for_person(talk, 2, 3)
    turn, first = talk.turn(), approval_of(talk)
    shown = ok(rest.get(f"turns/{turn.pk}"))
    assert shown["status"] == "waiting"
    assert [one["step"] for one in shown["approvals"]] == [2, 3]
    assert shown["approvals"][0] == {
        "approval": str(first.pk), "step": 2, "call_id": "c2", "tool": "mail", "arguments": ARGUMENTS,
        "reasons": ["it asks"], "who": "user", "until": shown["approvals"][0]["until"],
    }  # fmt: skip
    assert shown["approvals"] == talk.snapshot()["turns"][str(turn.pk)]["approvals"]
    path = f"turns/{turn.pk}/approvals/{first.pk}"
    decided = ok(rest.post(path, {"decision": "deny", "note": "No."}))
    assert (decided["approval"], decided["state"], decided["note"]) == (str(first.pk), "denied", "No.")
    assert ok(rest.post(path, {"decision": "deny"})) == decided
    assert "refused already" in problem(rest.post(path, {"decision": "approve"}), 409, "approval_decided")["detail"]
    # The key tells a repeat from another request.
    other = f"turns/{turn.pk}/approvals/{approval_of(talk, 3).pk}"
    answers = [rest.post(other, {"decision": "approve"}, Idempotency_Key="k") for _ in range(2)]
    assert ok(answers[0]) == ok(answers[1])
    assert answers[1]["Idempotent-Replayed"] == "true"
    problem(rest.post(other, {"decision": "deny"}, Idempotency_Key="k"), 422, "idempotency_mismatch")
    assert ok(rest.get(f"turns/{turn.pk}"))["approvals"] == []


def test_an_operators_call_is_not_the_users_to_decide_nor_one_of_another_turn() -> None:
    rest, talk = Rest(key_of(person("ada", Role.USER))), conversation("ada")
    wait_for_person(talk, decider=Decider.OPERATOR)
    path = f"turns/{talk.turn().pk}/approvals/{approval_of(talk).pk}"
    assert problem(rest.post(path, {"decision": "approve"}), 403, "forbidden")["detail"].startswith("An operator")
    other = conversation("ada")
    other.ask()
    problem(
        rest.post(f"turns/{other.turn().pk}/approvals/{approval_of(talk).pk}", {"decision": "approve"}),
        404,
        "not_found",
    )
    problem(rest.post(path, {"decision": "maybe"}), 422, "invalid")
    assert approval_of(talk).state == "pending"
