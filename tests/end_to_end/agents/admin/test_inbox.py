"""The operators' inbox: who waits, the page of a conversation, and what its buttons do."""

from __future__ import annotations

from datetime import timedelta
from typing import Any
from uuid import uuid4

import orjson
import pytest
from django.contrib.auth.models import Group
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext

from accounts.models import AuditEntry, User
from accounts.roles import Role
from agents.models import AgentSession, Approval, ApprovalPass, Handoff, HandoffNote, Message, OperatorDuty
from foundation.clock import now
from tests.support.console_pages import session_with_a_turn, want_a_person
from tests.support.consoles import button_of, changelist_of, client_of, confirmed, list_of, page_of
from tests.support.conversations import conversation
from tests.support.people import person

pytestmark = pytest.mark.django_db

YES = {"confirm": "yes"}
SCRIPT = {"Accept": "application/json"}


@pytest.fixture
def handoff(db: None) -> Handoff:
    """Ada wants a person, and one of the agent's calls waits for an approval."""
    ada = conversation("ada")
    ada.ask("What is the time?")
    return want_a_person(ada.row)


@pytest.fixture
def olga(db: None) -> Client:
    return client_of("olga", Role.OPERATOR)


def rows(client: Client, **query: str) -> list[Any]:
    return list(client.get(list_of(Handoff), query).context["cl"].result_list)


def waiting(name: str, **fields: Any) -> Handoff:
    """Somebody else who waits for a person of the same agent."""
    session = session_with_a_turn(person(name, Role.USER), AgentSession.objects.latest("pk").agent)
    return Handoff.objects.create(agent_session=session, requested_by="user", **fields)


def test_the_most_urgent_comes_first_and_then_who_waits_longest(handoff: Handoff, olga: Client) -> None:
    earlier = waiting("bea", requested_at=now() - timedelta(hours=1))
    urgent = waiting("cleo", priority=0)
    answered = waiting("dora", state="open", assignee=User.objects.get(username="olga"))
    assert rows(olga) == [urgent, earlier, handoff]
    assert rows(olga, show="mine") == [answered]
    assert rows(olga, show="open")[0] == urgent
    assert answered in rows(olga, show="open")
    assert rows(olga, show="snoozed") == rows(olga, show="resolved") == []
    assert rows(olga, q="dora") == [answered], "a search finds whatever there is"
    page = olga.get(list_of(Handoff)).content.decode()
    assert "The user asks: “My money”" in page
    assert "most urgent and oldest first" in page


def test_a_search_is_for_an_id_a_user_or_a_tool_each_by_an_index(handoff: Handoff, olga: Client) -> None:
    approval = Approval.objects.get()
    waiting("bea")

    def found(model: Any, term: Any) -> list[Any]:
        with CaptureQueriesContext(connection) as queries:
            result = list(changelist_of(olga, list_of(model), {"q": str(term)}).result_list)
        # One condition on the rows and on their users' names would join them all.
        table = model._meta.db_table
        assert not [q for q in queries if f'FROM "{table}"' in q["sql"] and '"username" =' in q["sql"]], term
        return result

    assert [found(Handoff, term) for term in (handoff.pk, handoff.agent_session_id, " ada ")] == [[handoff]] * 3
    terms = (approval.pk, approval.agent_session_id, approval.turn_id, "ada", "pay")
    assert [found(Approval, term) for term in terms] == [[approval]] * 5
    assert [found(model, "nobody") for model in (Handoff, Approval)] == [[], []]


def test_the_inbox_pages_in_its_own_order(handoff: Handoff, olga: Client) -> None:
    others = [waiting(f"u{number}", priority=number % 3 * 10) for number in range(60)]
    first = olga.get(list_of(Handoff))
    older = first.context["cl"].older
    second = olga.get(list_of(Handoff) + older)
    found = [*first.context["cl"].result_list, *second.context["cl"].result_list]
    expected = sorted([handoff, *others], key=lambda row: (row.priority, row.requested_at, row.pk))
    assert [row.pk for row in found] == [row.pk for row in expected]
    assert second.context["cl"].older is None


def test_a_place_that_is_none_is_refused(handoff: Handoff, olga: Client) -> None:
    time = "2026-01-01T00:00:00"
    for place in ("x", "1~2~3", f"99999999~{time}+00:00~{uuid4()}", f"0~{time}~{uuid4()}", "~~", "\x00", "0~x~x"):
        assert olga.get(list_of(Handoff), {"before": place}).status_code == 400, place


def test_who_may_not_read_the_transcript_sees_neither_row_nor_page(handoff: Handoff, olga: Client) -> None:
    handoff.agent_session.agent.groups.add(Group.objects.create(name="lawyers"))
    approval = Approval.objects.get()
    assert rows(olga) == []
    assert olga.get("/admin/agents/handoff/counts/").json()["count"] == 0
    assert list(olga.get(list_of(Approval)).context["cl"].result_list) == []
    for row in (handoff, approval, ApprovalPass.objects.get()):
        assert olga.get(page_of(row)).status_code == 302
    assert olga.get(button_of(handoff, "live"), {"after": "0"}).status_code == 404
    assert olga.post(button_of(handoff, "claim"), YES).status_code == 302
    assert olga.post(button_of(approval, "decide"), {"decision": "approve"}).status_code == 302
    sent = olga.post(button_of(handoff, "reply"), {**YES, "text": "Hello", "key": str(uuid4())}, headers=SCRIPT)
    assert (sent.status_code, sent.json()["detail"][:8]) == (404, "Not sent"), "a script takes a redirect for a login"
    assert olga.get(button_of(handoff.agent_session, "take_over")).status_code == 403
    handoff.refresh_from_db()
    assert (handoff.state, Approval.objects.get().state) == ("pending", "pending")


def test_an_operator_claims_replies_and_returns(handoff: Handoff, olga: Client) -> None:
    page = olga.get(page_of(handoff))
    assert "Sending takes over: the agent stops" in page.content.decode()
    answer = olga.post(button_of(handoff, "claim"), YES)
    assert (answer.status_code, answer["Location"]) == (302, page_of(handoff))
    handoff.refresh_from_db()
    assert (handoff.state, handoff.agent_session.controller) == ("open", "human")
    page_text = olga.get(page_of(handoff)).content.decode()
    assert "You answer; the agent does not." in page_text
    key = str(uuid4())
    for _ in range(2):
        sent = olga.post(button_of(handoff, "reply"), {**YES, "text": "Hello, I am Olga.", "key": key}, headers=SCRIPT)
        assert (sent.status_code, set(sent.json())) == (200, {"key"}), sent.content
    [message] = Message.objects.filter(author="human")
    assert message.parts[0]["text"] == "Hello, I am Olga."
    # Whoever changes their words, since no answer has come, sends two messages.
    changed = olga.post(button_of(handoff, "reply"), {**YES, "text": "I am Olga.", "key": key}, headers=SCRIPT)
    assert (changed.status_code, "it stands above" in changed.json()["detail"]) == (409, True)
    key = changed.json()["key"]
    assert olga.post(button_of(handoff, "reply"), {**YES, "text": "I am Olga.", "key": key}, headers=SCRIPT).json()
    assert Message.objects.filter(author="human").count() == 2
    assert olga.post(button_of(handoff, "return"), YES).status_code == 302
    handoff.refresh_from_db()
    assert (handoff.state, handoff.outcome) == ("resolved", "returned")
    actions = list(AuditEntry.objects.order_by("pk").values_list("action", flat=True))
    assert [action for action in actions if action.startswith("handoff.")] == [
        "handoff.claimed",
        "handoff.replied",
        "handoff.replied",
        "handoff.given_back",
    ]


def test_a_reply_takes_over_by_itself_without_a_script(handoff: Handoff, olga: Client) -> None:
    form = {**YES, "text": "I am here.", "key": str(uuid4())}
    assert olga.post(button_of(handoff, "reply"), form)["Location"] == page_of(handoff)
    handoff.refresh_from_db()
    assert (handoff.state, handoff.assignee) == ("open", User.objects.get(username="olga"))
    empty = olga.post(button_of(handoff, "reply"), {**YES, "text": " ", "key": str(uuid4())})
    assert empty.status_code == 200
    assert "The message is empty" in empty.content.decode()
    refused = olga.post(button_of(handoff, "reply"), {**YES, "text": "x" * 200_000, "key": str(uuid4())})
    assert "x" * 200_000 in refused.content.decode(), "what somebody wrote is not lost"


def test_the_second_to_claim_is_shown_who_was_first_and_may_take_it(handoff: Handoff, olga: Client) -> None:
    oscar = client_of("oscar", Role.OPERATOR)
    olga.post(button_of(handoff, "claim"), YES)
    second = oscar.post(button_of(handoff, "claim"), YES)
    assert second.status_code == 409
    assert "olga answers already" in second.content.decode()
    form = {**YES, "text": "Me too.", "key": str(uuid4())}
    reply = oscar.post(button_of(handoff, "reply"), form)
    assert (reply.status_code, "Me too." in reply.content.decode()) == (409, True)
    by_script = oscar.post(button_of(handoff, "reply"), form, headers=SCRIPT)
    assert (by_script.status_code, "olga" in by_script.json()["detail"]) == (409, True)
    assert not Message.objects.filter(author="human").exists()
    assert "olga answers" in oscar.get(page_of(handoff)).content.decode()
    assert oscar.post(button_of(handoff, "reply"), {**form, "take_over": "1"}).status_code == 302
    handoff.refresh_from_db()
    assert handoff.assignee == User.objects.get(username="oscar")
    assert "oscar answers" in olga.get(page_of(handoff)).content.decode()


@pytest.mark.parametrize(("action", "outcome"), [("return", "returned"), ("resolve", "resolved")])
def test_who_gives_back_what_another_answers_is_shown_so_and_may_do_it(
    handoff: Handoff, olga: Client, action: str, outcome: str
) -> None:
    oscar, button = client_of("oscar", Role.OPERATOR), button_of(handoff, action)
    olga.post(button_of(handoff, "claim"), YES)
    shown = oscar.post(button, YES)
    page = shown.content.decode()
    assert (shown.status_code, "olga answers already" in page, f'action="{button}"' in page) == (409, True, True)
    assert "nevertheless" in page
    assert "take it over" not in page.lower()
    handoff.refresh_from_db()
    assert (handoff.state, handoff.agent_session.controller) == ("open", "human")
    assert oscar.post(button, {**YES, "take_over": "1"})["Location"] == page_of(handoff)
    handoff.refresh_from_db()
    assert (handoff.state, handoff.outcome) == ("resolved", outcome)


def test_a_page_of_what_is_over_does_nothing_to_the_next_request(handoff: Handoff, olga: Client) -> None:
    olga.post(button_of(handoff, "resolve"), YES)
    latest = Handoff.objects.create(agent_session=handoff.agent_session, requested_by="user", reason="Again")
    before = Handoff.objects.filter(pk=latest.pk).values().get()
    for action, fields in [
        ("resolve", {}),
        ("return", {}),
        ("snooze", {"minutes": "240"}),
        ("priority", {"priority": "0"}),
        ("assign", {"assignee": ""}),
    ]:
        answer = olga.post(button_of(handoff, action), {**YES, **fields}, follow=True)
        assert "It is over already" in answer.content.decode(), action
        assert Handoff.objects.filter(pk=latest.pk).values().get() == before, action


def test_notes_are_for_operators_only(handoff: Handoff, olga: Client) -> None:
    assert "Be kind." in olga.get(page_of(handoff)).content.decode()
    form = {**YES, "text": "She has called before.", "key": str(olga.get(page_of(handoff)).context["note_key"])}
    for _ in range(2):
        sent = olga.post(button_of(handoff, "note"), form, headers=SCRIPT)
        assert (sent.status_code, sent.json()["key"] != form["key"]) == (200, True)
    assert HandoffNote.objects.filter(text=form["text"]).count() == 1, "a retry after a lost answer"
    changed = olga.post(button_of(handoff, "note"), {**form, "text": "Never."}, headers=SCRIPT)
    assert (changed.status_code, "it stands above" in changed.json()["detail"]) == (409, True)
    viewer = client_of("vera", Role.VIEWER)
    for page in (page_of(handoff), page_of(handoff.agent_session)):
        assert "She has called before." in olga.get(page).content.decode()
        assert "She has called before." not in viewer.get(page).content.decode()
    live = {"after": "0", "note": ""}
    assert "She has called before." in olga.get(button_of(handoff, "live"), live).content.decode()
    assert "She has called before." not in viewer.get(button_of(handoff, "live"), live).content.decode()
    last = str(HandoffNote.objects.latest("pk").pk)
    assert "called" not in olga.get(button_of(handoff, "live"), {"after": "0", "note": last}).content.decode()


def test_the_open_page_learns_of_words_and_of_who_answers(handoff: Handoff, olga: Client) -> None:
    page = olga.get(page_of(handoff)).context
    ask = {"after": str(page["seq"]), "parts": page["version"], "note": page["last_note"]}
    assert olga.get(button_of(handoff, "live"), ask).status_code == 204
    oscar = client_of("oscar", Role.OPERATOR)
    oscar.post(button_of(handoff, "reply"), {**YES, "text": "Good morning", "key": str(uuid4())})
    change = olga.get(button_of(handoff, "live"), ask).json()
    assert "oscar answers" in change["parts"]["status"]
    assert any("Good morning" in block["html"] for block in change["blocks"])
    assert any("took over" in block["html"] for block in change["blocks"])
    later = {"after": str(change["seq"]), "parts": change["version"], "note": page["last_note"]}
    assert olga.get(button_of(handoff, "live"), later).status_code == 204
    oscar.post(button_of(handoff, "priority"), {**YES, "priority": "0"})
    change = olga.get(button_of(handoff, "live"), later).json()
    assert (set(change), "urgent" in change["parts"]["status"]) == ({"parts", "version"}, True)


def test_snooze_priority_and_assignment(handoff: Handoff, olga: Client) -> None:
    oscar = client_of("oscar", Role.OPERATOR)
    oscar.post("/admin/agents/handoff/duty/", {**YES, "hours": "2"})
    oscar_id = User.objects.get(username="oscar").pk
    olga.post(button_of(handoff, "assign"), {**YES, "assignee": str(oscar_id)})
    olga.post(button_of(handoff, "priority"), {**YES, "priority": "10"})
    olga.post(button_of(handoff, "snooze"), {**YES, "minutes": "240"})
    handoff.refresh_from_db()
    assert (handoff.assignee_id, handoff.priority, handoff.state) == (oscar_id, 10, "snoozed")
    assert rows(olga) == []
    assert rows(olga, show="snoozed") == rows(oscar, show="mine") == [handoff]
    for action, wrong in [
        ("snooze", {"minutes": "7"}),
        ("priority", {"priority": "x"}),
        ("assign", {"assignee": "999"}),
    ]:
        answer = olga.post(button_of(handoff, action), {**YES, **wrong})
        assert (answer.status_code, "Select a valid choice" in answer.content.decode()) == (200, True), action
    olga.post(button_of(handoff, "resolve"), {**YES, "take_over": "1"})
    assert rows(olga, show="resolved") == [handoff]


def test_an_operator_goes_on_duty_and_off(handoff: Handoff, olga: Client) -> None:
    assert "Nobody is on duty." in olga.get(list_of(Handoff)).content.decode()
    confirmed(olga, "/admin/agents/handoff/duty/", hours="4")
    assert OperatorDuty.objects.get().user.username == "olga"
    assert "On duty: <strong>olga</strong> until" in olga.get(list_of(Handoff)).content.decode()
    # Who may not answer any more is there for nobody: the people who ask are told so, too.
    oscar = client_of("oscar", Role.OPERATOR)
    user = User.objects.get(username="olga")
    assert "olga</option>" in oscar.get(page_of(handoff)).content.decode()
    user.groups.clear()
    assert "Nobody is on duty." in oscar.get(list_of(Handoff)).content.decode()
    assert "olga</option>" not in oscar.get(page_of(handoff)).content.decode()
    user.groups.add(Group.objects.get(name=Role.OPERATOR))
    confirmed(olga, "/admin/agents/handoff/duty/?off=1")
    assert not OperatorDuty.objects.exists()


def test_an_operator_takes_over_from_the_page_of_a_session(handoff: Handoff, olga: Client) -> None:
    Handoff.objects.all().delete()
    session = handoff.agent_session
    assert "Take over" in olga.get(page_of(session)).content.decode()
    confirmed(olga, button_of(session, "take_over"))
    session.refresh_from_db()
    assert session.controller == "human"
    page = olga.get(page_of(session)).content.decode()
    assert "A person answers in this session just now" in page
    assert "took over: a person answers from now on" in page


def test_an_approval_shows_its_call_and_is_decided_once(handoff: Handoff, olga: Client) -> None:
    approval = Approval.objects.get()
    page = olga.get(button_of(approval, "decide")).content.decode()
    beside = olga.get(page_of(handoff)).content.decode()
    for words in ("pay", "amount", "10", "came from a web page", 'value="approve"', "he user reads it, too"):
        assert words in page
        assert words in beside
    assert button_of(approval, "decide") in olga.get(page_of(approval)).content.decode()
    assert olga.post(button_of(approval, "decide"), {"decision": "maybe"}).status_code == 200
    olga.post(button_of(approval, "decide"), {"decision": "deny", "note": "Too much."})
    approval.refresh_from_db()
    assert (approval.state, approval.note) == ("denied", "Too much.")
    late = client_of("oscar", Role.OPERATOR).post(button_of(approval, "decide"), {"decision": "approve"}, follow=True)
    assert "It was refused already." in late.content.decode()
    assert "decided already" in olga.get(button_of(approval, "decide")).content.decode()
    back = olga.post(button_of(approval, "decide"), {"decision": "deny", "back": "//evil.example/"})
    assert back["Location"] == page_of(approval)
    assert button_of(approval, "decide") not in olga.get(page_of(approval)).content.decode()


def test_an_operator_decides_about_the_whole_call_and_sees_what_the_eye_would_miss(
    handoff: Handoff, olga: Client
) -> None:
    long, end = "x" * 5_000, "and all the money"
    call = orjson.dumps(
        {"to": "ada\u202e\u200bmoc", "a\u200bmount": [f"\u2066{long}"], "note": f"{long}{end}"}
    ).decode()
    Approval.objects.update(arguments=call, reasons=["`to\u202e` came from a web page"])
    approval = Approval.objects.get()
    for page in (button_of(approval, "decide"), page_of(approval)):
        text = olga.get(page).content.decode()
        assert all(
            shown in text for shown in ("ada⟨U+202E⟩⟨U+200B⟩moc", "a⟨U+200B⟩mount", "⟨U+2066⟩x", "`to⟨U+202E⟩`", end)
        )
    beside_the_words = olga.get(page_of(handoff)).content.decode()
    assert "ada⟨U+202E⟩⟨U+200B⟩moc" in beside_the_words
    assert (end in beside_the_words, 'value="approve"' in beside_the_words) == (False, False)
    assert "Read the whole call and decide" in beside_the_words
    for page in (list_of(Approval), page_of(handoff), page_of(approval), button_of(approval, "decide")):
        text = olga.get(page).content.decode()
        assert not [one for one in "\u202e\u200b\u2066" if one in text], page


def test_what_the_user_decides_is_not_offered_to_an_operator(handoff: Handoff, olga: Client) -> None:
    Approval.objects.update(decider="user")
    approval = Approval.objects.get()
    for page in (button_of(approval, "decide"), page_of(handoff)):
        text = olga.get(page).content.decode()
        assert ("decides this" in text, 'value="approve"' in text) == (True, False)
    assert button_of(approval, "decide") not in olga.get(page_of(approval)).content.decode()
    assert olga.get("/admin/agents/handoff/counts/").json() == {
        "count": 1,
        "title": "1 person waits, 0 approvals are open",
    }


def test_an_owner_grants_and_ends_a_pass(handoff: Handoff) -> None:
    owner = client_of("olivia", Role.OWNER)
    ApprovalPass.objects.all().delete()
    add = "/admin/agents/approvalpass/add/"
    agent_id = str(handoff.agent_session.agent_id)
    form = {
        "agent": agent_id,
        "tool": "pay",
        "seconds": "3600",
        "reason": "Year's end",
        "username": "ada",
        "session": "",
    }
    for wrong in (
        {"username": ""},
        {"username": "nobody"},
        {"session": str(handoff.agent_session_id)},
        {"seconds": "9"},
    ):
        assert owner.post(add, {**YES, **form, **wrong}).status_code == 200
    assert not ApprovalPass.objects.exists()
    assert owner.post(add, {**YES, **form}).status_code == 302
    row = ApprovalPass.objects.get()
    assert (row.user, row.tool) == (User.objects.get(username="ada"), "pay")
    confirmed(owner, button_of(row, "end_now"))
    assert not ApprovalPass.objects.filter(expires_at__gt=now()).exists()
    actions = set(AuditEntry.objects.values_list("action", flat=True))
    assert {"approval_pass.granted", "approval_pass.ended"} <= actions


def test_pages_of_the_inbox_stay_within_their_budgets(
    handoff: Handoff, olga: Client, django_assert_max_num_queries: Any
) -> None:
    with django_assert_max_num_queries(34):
        page = olga.get(page_of(handoff)).context
    with django_assert_max_num_queries(24):
        assert olga.get(button_of(handoff, "live"), {"after": "1", "note": "", "parts": ""}).status_code == 200
    # Each second, of each open page.
    nothing_new = {"after": str(page["seq"]), "note": page["last_note"], "parts": page["version"]}
    with django_assert_max_num_queries(12):
        assert olga.get(button_of(handoff, "live"), nothing_new).status_code == 204
    with django_assert_max_num_queries(9):
        assert olga.get("/admin/agents/handoff/counts/").json()["count"] == 2


def test_who_decides_sees_all_of_the_call_and_what_the_eye_misses(handoff: Handoff, olga: Client) -> None:
    approval = Approval.objects.get()
    body = "a" * 5_000 + "the end"
    approval.arguments = f'{{"body": "{body}", "to": "moc.elpmaxe\u202e", "more": {{"\u200b": ["\u2066"]}}}}'
    approval.save()
    for page in (page_of(approval), button_of(approval, "decide")):
        shown = olga.get(page).content.decode()
        for words in ("a" * 5_000 + "the end", "moc.elpmaxe⟨U+202E⟩", "⟨U+200B⟩", "⟨U+2066⟩"):
            assert words in shown, (page, words[-20:])
