"""The page of a session in the console: what it shows, to whom, and how it follows."""

from __future__ import annotations

import re
from dataclasses import replace
from decimal import Decimal
from typing import Any
from uuid import UUID

import pytest
from django.contrib.auth.models import Group
from django.test import Client
from django.urls import reverse
from django.utils.html import escape

from accounts.models import AuditEntry, User
from accounts.permissions import user_actor
from accounts.roles import Role
from agents.admin.turns import TurnAdmin
from agents.domain.failures import ErrorClass
from agents.domain.message_parts import reasoning_part, text_part, tool_call_part, tool_result_part
from agents.domain.response_fallbacks import FALLBACK_NOTES
from agents.domain.states import StepKind, StepStatus, WaitReason
from agents.domain.usage import BilledUsage
from agents.journal import fenced_writes
from agents.journal.claims import Claim
from agents.journal.fenced_writes import Intent, NewEvent, StepOutcome
from agents.journal.utility_calls import UtilityOutcome, UtilityOwner, begin_utility_call, end_utility_call
from agents.models import Agent, AgentSession, Event, Message, Step, Turn
from agents.runner.reaper import reap
from agents.sessions import fail_turn, retry_turn
from agents.sessions.fork import fork_any_session
from agents.sessions.handoffs import request_handoff
from console.formatting import NOTHING
from foundation.errors import Forbidden
from foundation.ids import new_id
from tests.support.conversations import (
    Conversation,
    answer,
    claimed,
    conversation,
    done,
    ending,
    fail,
    lease_is_over,
    park,
    retrying,
    say,
    tool_intent,
    wake,
)
from tests.support.people import person

pytestmark = pytest.mark.django_db


@pytest.fixture
def vera() -> Client:
    client = Client()
    client.force_login(person("vera", Role.VIEWER))
    return client


def client_of(name: str, *roles: Role) -> Client:
    client = Client()
    client.force_login(person(name, *roles))
    return client


def address(ada: Conversation, query: str = "") -> str:
    return reverse("admin:agents_agentsession_change", args=[ada.session_id]) + query


def page(client: Client, where: str) -> str:
    answer = client.get(where)
    assert answer.status_code == 200, where
    return answer.content.decode()


def news(client: Client, ada: Conversation, after: int, **query: Any) -> Any:
    return client.get(reverse("admin:agents_agentsession_live", args=[ada.session_id]), {"after": after, **query})


def last_seq(ada: Conversation) -> int:
    return ada.row.next_seq - 1


def asked(text: str = "Hi") -> Conversation:
    ada = conversation()
    ada.ask(text)
    return ada


def test_the_page_tells_what_was_said_by_whom_and_how_it_went(vera: Client) -> None:
    ada = asked("What is **the time**? <script>alert(1)</script>")
    work = claimed()
    fenced_writes.advance(work, outcomes=[done(1, "Let me see.")], intents=[tool_intent(2)])
    unknown = StepOutcome(2, StepStatus.UNKNOWN, {"content": "Nobody <b>knows</b>.", "is_error": True}, "tool_error")
    fenced_writes.advance(work, outcomes=[unknown])
    fail(work, text="Half an answer")
    Turn.objects.filter(pk=work.turn_id)
    shown = page(vera, address(ada))
    for words in (
        "<strong>the time</strong>", "Half an answer", "cut short", "It broke.", "transient", "clock",
        "It may have taken effect; it was not run again.", "Nobody &lt;b&gt;knows&lt;/b&gt;.", "Demo #1", "unknown",
    ):  # fmt: skip
        assert words in shown, words
    assert "<script>alert" not in shown
    turn = ada.turn()
    of_turn = page(vera, reverse("admin:agents_turn_change", args=[turn.pk]))
    assert "Half an answer" in of_turn
    assert str(turn.pk) in of_turn


def test_reasoning_is_folded_above_the_words_and_a_cut_answer_says_why(vera: Client) -> None:
    ada = asked()
    answer(claimed(), "Half an answer")
    parts = [reasoning_part("They want **half** of it. <script>alert(1)</script>"), text_part("Half", cut="repetition")]
    Message.objects.filter(turn=ada.turn(), author="agent").update(parts=parts)
    shown = page(vera, address(ada))
    folded = re.search(r"<details [^>]*><summary>Reasoning</summary>(.*?)</details>", shown, re.S)
    assert folded
    assert "<strong>half</strong>" in folded[1]
    assert "<script>alert" not in shown
    assert "The model stopped because it repeated itself." in shown[folded.end() :]


def test_a_tool_call_stands_with_its_result_its_state_and_its_time(vera: Client) -> None:
    ada = asked()
    work = claimed()
    fenced_writes.advance(
        work, outcomes=[done(1, "Two at once.")], intents=[tool_intent(2, "call_a"), tool_intent(3, "call_b")]
    )
    worked = StepOutcome(3, StepStatus.DONE, {"content": "It is noon.", "is_error": False})
    broke = StepOutcome(2, StepStatus.FAILED, {"content": "No such zone.", "is_error": True}, "tool_error")
    fenced_writes.advance(work, outcomes=[worked, broke])
    fail(work, text="Half an answer")
    parts = [
        tool_call_part(call_id="call_a", name="clock", arguments='{"timezone": "Mars", "n": 1}'),
        tool_call_part(call_id="call_b", name="clock", arguments="{"),
        tool_result_part(call_id="call_b", content="It is noon.", is_error=False),
        tool_result_part(call_id="call_a", content="No such zone.", is_error=True),
        tool_call_part(call_id="call_a", name="theirs", arguments="{}"),
        tool_result_part(call_id="gone", content="Of a program.", is_error=False),
    ]
    Message.objects.filter(turn=ada.turn(), author="agent").update(parts=parts)
    [block] = vera.get(address(ada)).context["blocks"]
    tools = [part.tool for part in block.messages[-1].parts]
    assert [(tool.name, tool.summary, tool.result) for tool in tools] == [
        ("clock", "Mars, 1", "No such zone."),
        ("clock", "{", "It is noon."),
        ("theirs", "", None),
        ("result", "gone", "Of a program."),
    ]
    assert ["failed" in tools[0].status, "done" in tools[1].status, "handed" in tools[2].status] == [True] * 3
    assert [tool.step and tool.step.row.number for tool in tools] == [2, 3, None, None]
    shown = page(vera, address(ada))
    assert shown.count('<details class="bs-tool"') == 4
    assert len(set(re.findall(r'data-key="(tool-[^"]+)"', shown))) == 4


def test_a_call_says_why_it_was_refused_or_asked_about_to_those_who_may_read_it(vera: Client) -> None:
    ada = asked()
    work = claimed()
    right = {
        "decision": "deny",
        "reasons": [{"code": "untrusted", "text": "`to` may come from a web page", "argument": "to"}],
    }
    fenced_writes.advance(
        work, outcomes=[done(1, "Wait.")], intents=[replace(tool_intent(2, "call_a"), details={"right": right})]
    )
    result = {"content": "Refused.", "is_error": True, "outcome": "refused"}
    refused = StepOutcome(2, StepStatus.FAILED, result, "tool_error")
    fenced_writes.advance(work, outcomes=[refused])
    fail(work, text="Half an answer")
    parts = [
        tool_call_part(call_id="call_a", name="clock", arguments="{}"),
        tool_result_part(call_id="call_a", content="Refused.", is_error=True),
    ]
    Message.objects.filter(turn=ada.turn(), author="agent").update(parts=parts)
    step = reverse("admin:agents_step_change", args=[Step.objects.get(number=2).pk])
    trace = reverse("admin:agents_turn_trace", args=[work.turn_id])
    [block] = vera.get(address(ada)).context["blocks"]
    tool = next(part.tool for part in block.messages[-1].parts if part.tool)
    assert (tool.status, tool.step.error_class) == ('<span class="bs-tag">refused</span>', "")
    words = "Refused, because `to` may come from a web page."
    assert page(vera, address(ada)).count(words) == 2
    assert words in page(vera, trace)
    assert "may come from" in page(vera, step)
    Agent.objects.get().groups.set([Group.objects.create(name="lawyers")])
    for hidden in (address(ada), trace, step):
        shown = page(vera, hidden)
        assert "may come from" not in shown
        assert "efused by the rights of tools." in shown or hidden == step
    assert "untrusted" in page(vera, step)


def provider_said(work: Claim, words: str, error_class: str = "rate_limit") -> None:
    error = {
        "status": 429, "code": "rpm", "message": words, "retry_after_seconds": 7.0, "request_id": "req_123",
    }  # fmt: skip
    details = {"attempt": 1, "error": error, "unconfirmed_end": True, "finish_reason": "xyz"}
    fenced_writes.advance(work, outcomes=[StepOutcome(1, StepStatus.FAILED, error_class=error_class, details=details)])
    fail(work, error_class)


def test_operators_read_what_the_provider_said_and_what_to_do(vera: Client) -> None:
    ada = asked()
    provider_said(claimed(), "Slow <down>.")
    shown = page(vera, address(ada))
    assert "HTTP 429 rpm: Slow &lt;down&gt;. · retry after 7 s · request req_123" in shown
    assert "finish reason: xyz, unconfirmed end" in shown
    assert escape(ErrorClass.RATE_LIMIT.failure.remedy) in shown


def test_operators_see_who_answered_after_how_many_failed_calls(vera: Client) -> None:
    ada = asked()
    work = claimed()
    failed = StepOutcome(1, StepStatus.FAILED, error_class="transient", name="openai:a", details={"attempt": 1})
    fenced_writes.advance(work, outcomes=[failed], intents=[Intent(2, StepKind.MODEL, "anthropic:b")])
    compressed = {"max_tokens": 900, "messages": 3}
    sent = {"window": 10_000, "tokens": {"system": 100, "history": 3_000, "memories": 400}, "strategy": "drop",
            "messages_left_out": 12, "memories": [str(UUID(int=7))], "memories_left_out": ["m"],
            "summary": "s"}  # fmt: skip
    details = {"attempt": 2, "fallback": True, "pause_seconds": 0.25, "context_compressed": compressed, "context": sent}
    step = replace(done(2, "Hello"), name="anthropic:b", details=details)
    fenced_writes.finish(work, ending(work, parts=[text_part("Hello")]), outcomes=[step])
    shown = page(vera, address(ada))
    assert "2 steps · answered by anthropic:b, 1 of 2 calls of models failed" in shown
    assert "pause seconds: 0.25" in shown
    assert "context compressed: messages 3, max tokens 900" in shown
    assert (
        "Context: about 35 % of 10,000 tokens: system 1 %, history 30 %, memories 4 %; 12 messages left out; "
        "their summary sent; 1 memory left out" in shown
    )
    assert "context: " not in shown
    assert f'Recalled: <a href="/admin/memory/memory/{UUID(int=7)}/change/">memory 1</a>' in shown


def hands_off() -> Claim:
    """A turn whose model failed and that ended with a request for a person."""
    work = claimed()
    failed = StepOutcome(1, StepStatus.FAILED, error_class="transient", name="openai:a", details={"attempt": 1})
    request = {"reason": "transient"}
    tried = Intent(2, StepKind.FALLBACK, "cached_response", request=request)
    fenced_writes.advance(work, outcomes=[failed], intents=[tried])
    nothing = StepOutcome(2, StepStatus.FAILED, details={"gave_up": "no_answer"})
    fenced_writes.advance(
        work, outcomes=[nothing], intents=[Intent(3, StepKind.FALLBACK, "human_handoff", request=request)]
    )
    end = ending(
        work, parts=[text_part("A person was asked.", fallback="human_handoff")], fallback="human_handoff",
        handoff_reason="transient",
    )  # fmt: skip
    fenced_writes.finish(work, end, outcomes=[StepOutcome(3, StepStatus.DONE, {"text": "A person was asked."})])
    return work


def test_a_fallback_shows_on_its_turn_its_steps_and_its_session(vera: Client) -> None:
    ada = asked()
    turn = hands_off().turn_id
    shown = page(vera, address(ada))
    assert '<span class="bs-tag bs-tag--warn">human handoff</span>' in shown
    assert "After transient. It gave nothing: no earlier answer." in shown
    assert FALLBACK_NOTES["human_handoff"] in shown
    assert "A person was asked for: " in shown
    assert reverse("admin:agents_turn_change", args=[turn]) in shown
    sessions = reverse("admin:agents_agentsession_changelist")
    assert str(ada.session_id) in page(vera, f"{sessions}?state=handoff")


def test_turns_are_listed_by_their_fallback(vera: Client, django_assert_max_num_queries: Any) -> None:
    asked()
    handed = hands_off().turn_id
    asked()
    answered = claimed()
    answer(answered)
    turns = reverse("admin:agents_turn_changelist")
    for query, expected in (("any", True), ("human_handoff", True), ("cached_response", False)):
        with django_assert_max_num_queries(TurnAdmin.query_budget):
            shown = page(vera, f"{turns}?fallback={query}")
        assert (str(handed) in shown) is expected, query
        assert ('<span class="bs-tag bs-tag--warn">human handoff</span>' in shown) is expected
        assert str(answered.turn_id) not in shown
    assert vera.get(f"{turns}?fallback=magic").status_code == 400


def test_the_list_of_turns_says_why_each_failed_within_its_budget(
    vera: Client, django_assert_max_num_queries: Any
) -> None:
    for words in ("Slow <down>. " + "x" * 300, "No credit."):
        asked()
        provider_said(claimed(), words)
    with django_assert_max_num_queries(TurnAdmin.query_budget):
        shown = page(vera, reverse("admin:agents_turn_changelist"))
    assert "HTTP 429 rpm: Slow &lt;down&gt;. xxx" in shown
    assert "x" * 120 not in shown
    assert "No credit." in shown


def test_the_words_of_a_refusal_are_for_those_who_may_read_the_conversation(vera: Client) -> None:
    ada = asked()
    provider_said(claimed(), "I will not help with that.", "content_filter")
    assert "I will not help" in page(vera, address(ada))
    step = reverse("admin:agents_step_change", args=[Step.objects.get().pk])
    assert "I will not help" in page(vera, step)
    turns = page(vera, reverse("admin:agents_turn_changelist"))
    assert "I will not help" not in turns
    assert "HTTP 429 rpm" in turns
    ada.row.agent.groups.add(Group.objects.create(name="lawyers"))
    hidden = page(vera, address(ada))
    assert "I will not help" not in hidden
    assert "HTTP 429 rpm · retry after 7 s" in hidden
    assert "I will not help" not in page(vera, step)


def test_unknown_usage_is_a_dash_and_not_zero(vera: Client) -> None:
    ada = asked()
    unknown = BilledUsage(None, None, None)
    step = replace(done(1, "Hello"), usage=unknown)
    work = claimed()
    fenced_writes.finish(work, ending(work, usage=unknown), outcomes=[step])
    facts = dict(vera.get(address(ada)).context["facts"])
    assert (facts["Tokens"], facts["Cost"]) == (NOTHING, NOTHING)
    shown = page(vera, address(ada))
    assert f"<dd>{NOTHING}</dd>" in shown
    assert f"<td>{NOTHING}</td><td>{NOTHING}</td><td>{NOTHING}</td>" in shown
    turns, sessions = (page(vera, reverse(f"admin:agents_{name}_changelist")) for name in ("turn", "agentsession"))
    assert "0 / 0" not in turns
    assert "$0<" not in turns + sessions


def test_a_sum_says_that_it_lacks_what_is_unknown(vera: Client) -> None:
    ada = asked()
    work = claimed()
    fenced_writes.finish(work, ending(work, usage=BilledUsage(1200, 80, Decimal(2))))
    ada.ask("And now?")
    work = claimed()
    facts = dict(vera.get(address(ada)).context["facts"])
    assert (facts["Tokens"], facts["Cost"]) == ("1,200 in, 80 out", "$2.00"), "what runs is not unknown yet"
    fenced_writes.finish(work, ending(work, usage=BilledUsage(None, None, None)))
    facts = dict(vera.get(address(ada)).context["facts"])
    assert (facts["Tokens"], facts["Cost"]) == ("≥ 1,200 in, ≥ 80 out", "≥ $2.00")
    assert "Side work" not in facts
    owner = UtilityOwner(ada.actor.user_id or 0, ada.session_id)
    for cost in (Decimal("0.0001"), None):
        call = begin_utility_call(owner, purpose="title", route="openai:small", attempt=1)
        end_utility_call(call, UtilityOutcome(BilledUsage(1, 1, cost)))
    assert dict(vera.get(address(ada)).context["facts"])["Side work"] == "2 calls, ≥ $0.0001"
    assert "≥ $2.00" in page(vera, reverse("admin:agents_agentsession_changelist"))


def test_the_ids_that_people_pass_on_can_be_copied_and_times_say_how_long_ago(vera: Client) -> None:
    ada = asked()
    fail_turn(user_actor(person("olga", Role.OPERATOR)), turn_id=ada.turn().pk)
    shown, turn = page(vera, address(ada)), ada.turn()
    for key in (turn.pk, turn.error_id, ada.session_id):
        assert f'data-copy="{key}"' in shown
    assert re.search(r'<time datetime="[^"]+" title="[^"]+ UTC" data-ago>\d+ s ago</time>', shown)


def test_the_way_back_names_a_session_by_its_title_where_it_may_be_read(vera: Client) -> None:
    ada = asked("What is the time?")
    name = ada.row.title
    assert f">{name}</a>" in page(vera, address(ada))
    assert f"Turn 1 of {name}" in page(vera, reverse("admin:agents_turn_change", args=[ada.turn().pk]))
    Agent.objects.get().groups.set([Group.objects.create(name="lawyers")])
    hidden = page(vera, address(ada))
    assert name not in hidden
    assert f"ession {ada.session_id}" in hidden


def test_branches_say_which_of_them_people_see(vera: Client) -> None:
    ada = asked()
    fail(claimed())
    retry_turn(user_actor(person("olga", Role.OPERATOR)), turn_id=ada.turn().pk)
    shown = page(vera, address(ada))
    assert "branch 1 of 2, not shown in the chat now" in shown
    assert "branch 2 of 2</span>" in shown


def test_a_long_session_is_read_page_by_page(vera: Client, django_assert_max_num_queries: Any) -> None:
    ada = asked()
    for _ in range(44):
        answer(claimed())
        ada.ask()
    with django_assert_max_num_queries(24):
        answered = vera.get(address(ada))
    seen: list[int] = []
    while True:
        seen = [block.ordinal for block in answered.context["blocks"]] + seen
        if answered.context["older"] is None:
            break
        answered = vera.get(address(ada, answered.context["older"]))
    assert seen == [turn.ordinal for turn in ada.turns()]
    middle = ada.turns()[10]
    around = vera.get(address(ada, f"?turn={middle.pk}")).context
    assert around["blocks"][-1].turn == middle
    assert around["newer"] is not None


def test_the_open_page_is_told_of_each_change_once(vera: Client) -> None:
    ada = asked()
    seq = last_seq(ada)
    assert news(vera, ada, seq).status_code == 204
    work = claimed()
    say(work, "Hel", "lo")
    told = news(vera, ada, seq).json()
    assert told["seq"] == last_seq(ada)
    [block] = told["blocks"]
    assert block["key"] == f"turn-{work.turn_id}"
    assert "Hello" in block["html"]
    # While it runs its clock goes on; afterwards there is nothing to tell.
    assert news(vera, ada, told["seq"]).status_code == 200
    answer(work, "Hello there")
    told = news(vera, ada, told["seq"]).json()
    assert "Hello there" in told["blocks"][0]["html"]
    assert news(vera, ada, told["seq"]).status_code == 204
    ada.ask("And then?")
    told = news(vera, ada, told["seq"]).json()
    assert [block["ordinal"] for block in told["blocks"]] == [3]
    assert told["facts"]["Turns"] == "2, 1 open"


@pytest.mark.parametrize(
    ("reason", "words"),
    [
        (None, "a model to answer again"),
        (WaitReason.APPROVAL, "an approval"),
        (WaitReason.CHILDREN, "other agents"),
        (WaitReason.BUDGET, "money"),
    ],
)
def test_a_turn_that_waits_says_for_what_and_goes_on_behind_its_words(
    vera: Client, reason: WaitReason | None, words: str
) -> None:
    ada = asked()
    work = claimed()
    say(work, "Void")
    fenced_writes.append(work, [retrying()])
    say(work, "Hel")
    seq = last_seq(ada)
    assert "Void" not in page(vera, address(ada))
    park(work, reason)
    [block] = news(vera, ada, seq).json()["blocks"]
    assert f"<dt>waits for</dt><dd>{words}, until 2100-01-01 00:00:00 UTC</dd>" in block["html"]
    wake(ada.turn())
    say(claimed(), "lo")
    [block] = news(vera, ada, seq).json()["blocks"]
    assert "Hello" in block["html"]
    assert "waits for" not in block["html"]
    # It went on, and was not begun anew.
    assert "restarted" not in block["html"]


def test_a_turn_that_lost_its_runner_says_how_often_it_was_begun_anew(vera: Client) -> None:
    ada = asked()
    lease_is_over(claimed().turn_id)
    assert reap() == 1
    assert "restarted" not in page(vera, address(ada))
    claimed()
    assert '<span class="bs-tag">restarted 1 time</span>' in page(vera, address(ada))


def test_the_step_of_a_call_that_has_no_route_yet_shows_none(vera: Client) -> None:
    ada = asked()
    work = claimed()
    assert "<td>model</td>" in page(vera, address(ada))
    fenced_writes.advance(
        work, outcomes=[StepOutcome(1, StepStatus.DONE, {"text": "", "tool_calls": []}, name="openai:small")]
    )
    assert "<td>model <code>openai:small</code></td>" in page(vera, address(ada))


def test_a_page_of_one_turn_hears_of_that_turn_only(vera: Client) -> None:
    ada = asked()
    first = ada.turn()
    answer(claimed())
    seq = last_seq(ada)
    ada.ask("Another")
    assert news(vera, ada, seq, turn=first.pk).json()["blocks"] == []


def test_who_is_far_behind_or_from_another_life_loads_the_page_again(vera: Client) -> None:
    ada = asked()
    assert news(vera, ada, last_seq(ada) + 1).status_code == 409
    work = claimed()
    fenced_writes.append(work, [NewEvent("message.delta", {"text": "x"}) for _ in range(501)])
    assert news(vera, ada, 0).status_code == 409
    live = reverse("admin:agents_agentsession_live", args=[ada.session_id])
    for nonsense, status in [*((text, 422) for text in ("x", "-1", "", "9" * 40, "1.0")), ("\x00", 400)]:
        assert vera.get(live, {"after": nonsense}).status_code == status


def test_what_was_said_is_hidden_from_who_may_not_read_it_on_the_page_and_as_it_comes(vera: Client) -> None:
    lawyers = Group.objects.create(name="lawyers")
    ada = asked("A secret question")
    request_handoff(ada.actor, session_id=ada.session_id, reason="A secret wish")
    Agent.objects.get().groups.set([lawyers])
    AgentSession.objects.update(title="A secret title")
    work = claimed()
    fenced_writes.advance(work, outcomes=[done(1, "secret")], intents=[tool_intent(2)])
    Step.objects.filter(number=2).update(request="secret", result={"content": "secret"})
    say(work, "A secret answer")
    fail_turn(user_actor(person("olga", Role.OPERATOR)), turn_id=work.turn_id)
    places = (address(ada), reverse("admin:agents_turn_change", args=[work.turn_id]))
    others = [ada.events()[0], Step.objects.get(number=2)]
    for row in others:
        name = f"admin:agents_{row._meta.model_name}_change"
        assert "secret" not in page(vera, reverse(name, args=[row.pk])).lower()
    for where in places:
        shown = page(vera, where)
        assert "secret" not in shown.lower()
        assert "What was said is hidden" in shown
        assert "set_aside" in shown
    assert b"secret" not in news(vera, ada, 0).content
    User.objects.get(username="vera").groups.add(lawyers)
    assert all("secret" in page(vera, where) for where in places)
    assert b"secret" in news(vera, ada, 0).content
    # Asked anew each time: who loses the role is told nothing more.
    User.objects.get(username="vera").groups.clear()
    assert news(vera, ada, 0).status_code == 302


@pytest.mark.parametrize(("role", "offered"), [(Role.VIEWER, False), (Role.BUILDER, False), (Role.OPERATOR, True)])
def test_the_buttons_are_there_for_operators_only(role: Role, offered: bool) -> None:
    ada = asked()
    shown = page(client_of("somebody", role), address(ada))
    assert ("Fail turn" in shown) is offered
    assert ("Cancel all open turns" in shown) is offered


def test_the_buttons_are_those_that_the_state_allows() -> None:
    ada, client = asked(), client_of("olga", Role.OPERATOR)

    def buttons() -> set[str]:
        [block] = client.get(address(ada)).context["blocks"]
        return {action.action for action in block.actions}

    assert buttons() == {"cancel", "fail_turn"}
    work = claimed()
    assert buttons() == {"cancel", "requeue", "fail_turn"}
    fail(work)
    assert buttons() == {"retry"}


def test_who_has_no_console_reaches_neither_page_nor_news() -> None:
    ada = asked()
    for client in (Client(), client_of("bob", Role.USER)):
        assert client.get(address(ada))["Location"].startswith("/admin/login/")
        assert news(client, ada, 0)["Location"].startswith("/admin/login/")


def test_a_session_that_is_not_there_is_not_found(vera: Client) -> None:
    assert vera.get(reverse("admin:agents_agentsession_live", args=[new_id()]), {"after": 0}).status_code == 404


def test_what_a_person_wrote_stands_in_its_place(vera: Client) -> None:
    ada = asked()
    answer(claimed())
    row = ada.row
    said = [{"type": "text", "text": "A human here."}]
    Message.objects.create(agent_session=row, ordinal=row.next_ordinal, author="human", parts=said)
    shown = page(vera, address(ada))
    assert "A human here." in shown
    assert Event.objects.filter(agent_session=row).count() == last_seq(ada)


def test_an_operator_forks_what_they_may_read_and_the_copy_is_theirs() -> None:
    ada, client = asked("First question"), client_of("olga", Role.OPERATOR)
    answer(claimed(), "First answer")
    ada.ask("Second question")
    first = ada.turns()[0]
    fork = reverse("admin:agents_agentsession_fork", args=[ada.session_id]) + f"?turn={first.pk}"
    assert "begins with a copy" in page(client, fork)
    assert AgentSession.objects.count() == 1
    answered = client.post(fork, {"confirm": "yes"})
    [made] = AgentSession.objects.exclude(pk=ada.session_id)
    assert answered["Location"] == reverse("admin:agents_agentsession_change", args=[made.pk])
    assert (made.user.username, made.messages.count()) == ("olga", 2)
    assert AuditEntry.objects.get(actor="olga").action == "session.forked"
    shown = page(client, answered["Location"])
    assert "First answer" in shown
    assert "Second question" not in shown


@pytest.mark.parametrize(("role", "groups"), [(Role.VIEWER, []), (Role.BUILDER, []), (Role.OPERATOR, ["lawyers"])])
def test_nobody_forks_what_they_may_not_read_or_without_the_right(role: Role, groups: list[str]) -> None:
    ada, client = asked(), client_of("olga", role)
    Agent.objects.get().groups.set([Group.objects.create(name=name) for name in groups])
    fork = reverse("admin:agents_agentsession_fork", args=[ada.session_id])
    assert "Fork" not in page(client, address(ada))
    assert client.get(fork).status_code == 403
    assert client.post(fork, {"confirm": "yes"}).status_code == 403
    with pytest.raises(Forbidden):
        fork_any_session(user_actor(User.objects.get(username="olga")), session_id=ada.session_id)
    assert AgentSession.objects.count() == 1


def test_a_fork_at_an_open_or_foreign_turn_is_refused_in_words() -> None:
    ada, client = asked(), client_of("olga", Role.OPERATOR)
    fork = reverse("admin:agents_agentsession_fork", args=[ada.session_id])
    for turn in (ada.turn().pk, new_id()):
        assert client.post(f"{fork}?turn={turn}", {"confirm": "yes"})["Location"] == address(ada)
    for rubbish, status in (("zzz", 404), ("%00", 400), ("1", 404)):
        assert client.get(f"{fork}?turn={rubbish}").status_code == status
        assert client.post(f"{fork}?turn={rubbish}", {"confirm": "yes"}).status_code == status
    assert AgentSession.objects.count() == 1
