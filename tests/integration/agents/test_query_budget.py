"""How many statements each part of a turn costs, BEGIN and COMMIT included. More is a decision, not an accident."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from accounts.actor import Actor
from agents.domain.message_parts import text_part
from agents.engine.context import load_context
from agents.journal import fenced_writes
from agents.journal.approval_writes import park_for_approval, read_approvals, use_approvals
from agents.journal.claims import cancelling_turns, renew
from agents.journal.compaction import compact_turns
from agents.models import Budget
from agents.runner.budget_waker import settle_budgets
from agents.runner.reaper import reap, release_claim
from agents.sessions import cancel_turn, read_completion_result, read_events, update_session
from ratelimits import guard_storage
from tests.support.approvals import ask_person, decide, wait_for_person
from tests.support.completions import LIGHT, client, complete
from tests.support.conversations import (
    FAR_AHEAD,
    RUNNER,
    Conversation,
    answer,
    claim,
    claimed,
    compact_turn,
    conversation,
    done,
    ending,
    lease_is_over,
    say,
    tool_intent,
)
from tests.support.waiting_calls import Caller

pytestmark = pytest.mark.usefixtures("transactional_db")


def asked() -> Conversation:
    ada = conversation()
    ada.ask(key="first")
    return ada


Prepared = Callable[[], object]


def accept() -> Prepared:
    ada = asked()
    return lambda: ada.ask("Again", key="k")


def accept_a_repeat() -> Prepared:
    ada = asked()
    return lambda: ada.ask(key="first")


def accept_a_branch() -> Prepared:
    ada = asked()
    parent = ada.messages()[0].pk
    return lambda: ada.ask("Better", parent=parent)


def claim_one() -> Prepared:
    asked()
    return claim


def claim_many() -> Prepared:
    for name in ("ada", "bob", "cyd"):
        conversation(name).ask()
    return lambda: claim(10)


def claim_nothing() -> Prepared:
    return claim


def read_context() -> Prepared:
    asked()
    work = claimed()
    load_context(work)
    return lambda: load_context(work)


def read_context_of_a_turn_begun_before() -> Prepared:
    ada = asked()
    claimed()
    release_claim(session_id=ada.session_id, turn_id=ada.turn().pk, epoch=1, without_progress=False)
    work = claimed()
    load_context(work)
    return lambda: load_context(work)


def flush_deltas() -> Prepared:
    asked()
    work = claimed()
    return lambda: say(work, *"abcdefgh")


def run_tools() -> Prepared:
    asked()
    work = claimed()
    return lambda: fenced_writes.advance(work, outcomes=[done(1)], intents=[tool_intent(2), tool_intent(3, "call_2")])


def finish() -> Prepared:
    asked()
    work = claimed()
    last = ending(work, parts=[{"type": "text", "text": "Hello"}])
    return lambda: fenced_writes.finish(work, last, outcomes=[done(1)])


def finish_with_a_fallback() -> Prepared:
    asked()
    work = claimed()
    last = ending(work, parts=[text_part("Wait.")], fallback="human_handoff", handoff_reason="transient")
    return lambda: fenced_writes.finish(work, last, outcomes=[done(1)])


def renew_leases() -> Prepared:
    for name in ("ada", "bob", "cyd"):
        conversation(name).ask()
    turns = [work.turn_id for work in claim(3)]
    return lambda: renew(runner_id=RUNNER, turns=turns, lease_seconds=15)


def look_for_stops() -> Prepared:
    asked()
    work = claimed()
    return lambda: cancelling_turns([work.turn_id])


def stop_a_queued_turn() -> Prepared:
    ada = asked()
    turn_id = ada.turn().pk
    return lambda: cancel_turn(ada.actor, turn_id=turn_id)


def stop_a_running_turn() -> Prepared:
    ada = asked()
    work = claimed()
    return lambda: cancel_turn(ada.actor, turn_id=work.turn_id)


def give_a_turn_back() -> Prepared:
    asked()
    work = claimed()
    return lambda: release_claim(
        session_id=work.session_id, turn_id=work.turn_id, epoch=work.epoch, without_progress=True
    )


def reap_nothing() -> Prepared:
    asked()
    return reap


def reap_a_lost_turn() -> Prepared:
    asked()
    lease_is_over(claimed().turn_id)
    return reap


def read_a_page() -> Prepared:
    ada = asked()
    return lambda: read_events(actor=ada.actor, session_id=ada.session_id, after=0, limit=100)


def read_a_snapshot() -> Prepared:
    ada = asked()
    return ada.snapshot


def change_a_title() -> Prepared:
    ada = asked()
    return lambda: update_session(ada.actor, session_id=ada.session_id, expected_version=1, title="New")


def fold() -> Prepared:
    asked()
    work = claimed()
    say(work, "a", "b")
    fenced_writes.finish(work, ending(work))
    return lambda: compact_turn(work.session_id, work.turn_id)


def fold_many() -> Prepared:
    for name in ("ada", "bob", "cyd"):
        conversation(name).ask()
    work = claim(3)
    for one in work:
        fenced_writes.finish(one, ending(one))
    return lambda: compact_turns([(one.session_id, one.turn_id) for one in work])


def client_with_bytes() -> Actor:
    """Bytes are taken ahead, for many requests of an hour."""
    ada = client()
    assert ada.user_id is not None
    guard_storage(user_id=ada.user_id, size_bytes=1)
    return ada


def accept_a_request_of_a_client() -> Prepared:
    ada = client_with_bytes()
    return lambda: complete(ada)


def accept_a_conversation_of_a_client() -> Prepared:
    ada = client_with_bytes()
    said = [("user", [text_part("Hi")]), ("agent", [text_part("Hello")])] * 20
    return lambda: complete(ada, history=said, instructions="Be brief.", tools=(LIGHT,))


def accept_a_request_of_a_client_in_a_session() -> Prepared:
    ada = conversation()
    return lambda: complete(ada.actor, session_id=ada.session_id)


def find_a_clients_first_attempt() -> Prepared:
    ada = client()
    complete(ada)
    return lambda: complete(ada, attempt=1)


def read_a_clients_outcome() -> Prepared:
    ada = client()
    turn_id = complete(ada).turn_id
    answer(claimed())
    return lambda: read_completion_result(ada, turn_id=turn_id)  # type: ignore[arg-type]  # there is one


def ask_a_person() -> Prepared:
    asked()
    work = claimed()
    return lambda: ask_person(work)


def read_what_waits() -> Prepared:
    ada = asked()
    work = claimed()
    ask_person(work)
    decide(ada)
    return lambda: read_approvals(work, [2])


def use_an_approval() -> Prepared:
    ada = asked()
    work = claimed()
    ask_person(work)
    decide(ada)
    return lambda: use_approvals(work, [2])


def wait_for_a_person() -> Prepared:
    asked()
    work = claimed()
    ask_person(work)
    return lambda: park_for_approval(work, until=FAR_AHEAD)


def decide_a_call() -> Prepared:
    ada = conversation()
    wait_for_person(ada)
    return lambda: decide(ada)


def reserve_money() -> Prepared:
    """Besides, what the call before used is settled."""
    earlier, later = Caller.begin("ada"), Caller.begin("bob")
    Budget.objects.create(subject="everybody", unit="usd", period="month", amount=10)
    earlier.ask()
    answer(earlier.claim)
    return later.ask


def settle_nothing() -> Prepared:
    Caller.begin("ada")
    Budget.objects.create(subject="everybody", unit="usd", period="month", amount=10)
    return lambda: settle_budgets(RUNNER)


BUDGET: dict[Callable[[], Prepared], int] = {
    # the path of every turn
    accept: 1,
    claim_one: 1,
    read_context: 1,
    flush_deltas: 1,
    finish: 1,
    # what a call of a model costs besides where a budget applies, and what budgets cost a runner's beat
    reserve_money: 1,
    settle_nothing: 1,
    # the way in of OpenAI's clients
    accept_a_request_of_a_client: 9,
    accept_a_conversation_of_a_client: 15,
    accept_a_request_of_a_client_in_a_session: 14,
    find_a_clients_first_attempt: 6,
    read_a_clients_outcome: 3,
    # the path of turns with tools, and of turns that change hands
    run_tools: 1,
    read_context_of_a_turn_begun_before: 2,
    # with the request for a person, and whether somebody is on duty
    finish_with_a_fallback: 13,
    # what a call costs that waits for a person, besides one more claim
    ask_a_person: 2,
    wait_for_a_person: 6,
    decide_a_call: 17,
    read_what_waits: 1,
    use_an_approval: 1,
    # the beat of a runner, whatever it runs
    claim_many: 1,
    claim_nothing: 1,
    renew_leases: 1,
    look_for_stops: 1,
    reap_nothing: 3,
    # what people do now and then
    accept_a_repeat: 4,
    accept_a_branch: 5,
    stop_a_queued_turn: 14,
    stop_a_running_turn: 10,
    give_a_turn_back: 10,
    reap_a_lost_turn: 15,
    read_a_page: 2,
    read_a_snapshot: 7,
    change_a_title: 10,
    fold: 6,
    fold_many: 6,
}


@pytest.mark.parametrize("prepare", BUDGET, ids=lambda prepare: prepare.__name__)
def test_each_part_of_a_turn_keeps_its_budget(prepare: Callable[[], Prepared]) -> None:
    run = prepare()
    with CaptureQueriesContext(connection) as queries:
        run()
    statements = [query["sql"][:100] for query in queries]
    assert len(statements) == BUDGET[prepare], "\n".join(statements)


def test_the_whole_turn_costs_five_statements() -> None:
    path = (accept, claim_one, read_context, flush_deltas, finish)
    assert sum(BUDGET[part] for part in path) == 5
