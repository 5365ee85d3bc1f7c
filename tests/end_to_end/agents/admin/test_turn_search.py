"""Turns are found by words of their questions and answers, by those who may read them, and by how they ended."""

from __future__ import annotations

from datetime import timedelta
from itertools import product
from typing import Any

import pytest
from django.contrib.auth.models import Group
from django.test import Client

from accounts.roles import Role
from agents import tasks
from agents.domain.message_parts import reasoning_part, text_part
from agents.journal import fenced_writes
from agents.journal.turn_texts import MAX_PART_CHARACTERS, store_turn_texts
from agents.models import Agent, AgentSession, Turn
from agents.sessions import turn_search
from foundation.clock import now
from tests.support.consoles import changelist_of, client_of, list_of
from tests.support.conversations import Conversation, answer, claimed, conversation, done, ending, fail

pytestmark = pytest.mark.django_db


@pytest.fixture
def vera() -> Client:
    return client_of("vera", Role.VIEWER)


def exchange(ada: Conversation, question: str, reply: str, **options: Any) -> Turn:
    ada.ask(question, **options)
    answer(claimed(), reply)
    return ada.turns()[-1]


@pytest.fixture(autouse=True)
def _a_minute_later(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tasks, "COMPACT_AFTER", timedelta(seconds=-1))


def index() -> None:
    """A minute later, the job has stored the words of what has ended."""
    tasks.compact_events()


def listed(client: Client, **query: Any) -> list[Any]:
    return [row.pk for row in changelist_of(client, list_of(Turn), query).result_list]


def test_words_phrases_prefixes_and_what_is_to_be_left_out(vera: Client) -> None:
    ada = conversation()
    bread = exchange(ada, "How do I bake bread?", "Use rye flour.\nWait an hour.").pk
    train = exchange(ada, "When does the train to Vienna go?", "Each hour. Bring bread.").pk
    assert listed(vera, words="bread") == [], "nothing is stored while the turn's own work is to be done"
    index()
    for words, expected in (
        ("bread", [train, bread]),
        ("BREAD hour", [train, bread]),
        ('"rye flour"', [bread]),
        ('"flour rye"', []),
        ("flour wait", [bread]),
        ("bread -vienna", [bread]),
        ("rye or vienna", [train, bread]),
        ("vie*", [train]),
        ("vie* bak*", []),
        ("brea* flo*", [bread]),
        ('"vie*"', []),
        ("vie", []),
        ("!!! ***", []),
        ("x" * 201, []),
        ("bread & | ! ( : *", [train, bread]),
    ):
        assert listed(vera, words=words) == expected, words
    assert listed(vera, words="bread", user="ada", state="completed") == [train, bread]
    assert listed(vera, words="bread", error="auth") == []


def test_only_what_people_see_is_found(vera: Client) -> None:
    ada = conversation()
    ada.ask("Visible question")
    work = claimed()
    parts = [reasoning_part("hidden thought"), text_part("two\nlines"), text_part("and \u00dcberweg \u4f60\u597d")]
    fenced_writes.finish(work, ending(work, parts=parts), outcomes=[done(1)])
    ada.ask("It " + "long " * 12_000 + "end")
    fail(claimed(), text="shown before it broke")
    index()
    first, second = (turn.pk for turn in ada.turns())
    assert MAX_PART_CHARACTERS < 60_000
    for words, expected in (
        ("visible two lines", [first]), ("\u00fcberweg", [first]), ("\u4f60\u597d", [first]), ("hidden", []),
        ("thought", []), ("broke", [second]), ("end", []),
    ):  # fmt: skip
        assert listed(vera, words=words) == expected, words


def test_a_branch_is_found_by_its_own_words_and_the_first_by_its_own(vera: Client) -> None:
    ada = conversation()
    first = exchange(ada, "Where is Linz?", "In Austria.").pk
    index()
    edited = exchange(ada, "Where is Graz?", "In Austria, too.", parent=None).pk
    index()
    assert listed(vera, words="graz") == [edited]
    assert listed(vera, words="linz") == [first]
    assert listed(vera, words="austria") == [edited, first]


def test_words_of_others_agents_are_found_by_nobody_who_may_not_read_them(vera: Client) -> None:
    open_turn = exchange(conversation(slug="open"), "A secret", "Yes.").pk
    closed_turn = exchange(conversation("bob", slug="closed"), "A secret", "No.").pk
    index()
    group = Group.objects.create(name="closed")
    Agent.objects.get(slug="closed").groups.add(group)
    reader = client_of("rita", Role.VIEWER)
    reader.get("/admin/").context["user"].groups.add(group)
    assert listed(vera, words="secret") == [open_turn]
    assert listed(reader, words="secret") == [closed_turn, open_turn]
    assert 'name="words"' in vera.get(list_of(Turn)).content.decode()
    blind = client_of("bill", Role.VIEWER)
    user = blind.get("/admin/").context["user"]
    seer = Group.objects.create(name="sees turns")
    seer.permissions.set(Group.objects.get(name=Role.VIEWER).permissions.exclude(codename="view_transcript"))
    user.groups.set([seer])
    assert 'name="words"' not in blind.get(list_of(Turn)).content.decode()
    assert len(listed(blind)) == 2
    assert listed(blind, words="secret") == []


def test_many_matches_are_paged_newest_first_without_being_listed(
    vera: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    ada = conversation()
    turns = [exchange(ada, f"Number {number}", "All the same.").pk for number in range(4)]
    index()
    for limit, newest, enough in product((1, 2, 3, 4), (1, 3, 20), (1, 2)):
        monkeypatch.setattr(turn_search, "LISTED_TURNS", limit)
        monkeypatch.setattr(turn_search, "NEWEST_TURNS", newest)
        monkeypatch.setattr(turn_search, "ENOUGH", enough)
        assert listed(vera, words="same") == turns[::-1]
        assert listed(vera, words="same", before=turns[2]) == [turns[1], turns[0]]
        assert listed(vera, words="same", before=turns[0]) == []
        assert listed(vera, words="same", user="ada", agent=Agent.objects.get().pk) == turns[::-1]
        assert listed(vera, words='"number 3"') == [turns[3]]


def test_an_action_on_all_that_match_is_done_to_those_of_all_pages(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(turn_search, "LISTED_TURNS", 1)
    olga, ada = client_of("olga", Role.OPERATOR), conversation()
    turns = []
    for _ in range(3):
        turns.append(ada.ask("Break it").turn_id)
        fail(claimed())
    index()
    form = {"action": "retry", "_selected_action": [str(turns[0])], "select_across": "1", "index": "0"}
    page = olga.post(f"{list_of(Turn)}?words=break&before={turns[1]}", form)
    assert "This is about 3 turns." in page.content.decode()


def test_a_turn_is_stored_once_and_one_that_is_gone_is_no_error() -> None:
    ada = conversation()
    turn = exchange(ada, "Once", "Only.")
    assert [store_turn_texts([turn.pk, ada.session_id]), store_turn_texts([turn.pk]), store_turn_texts([])] == [1, 0, 0]


def test_turns_are_found_by_how_long_they_took_from_the_message_to_the_end(vera: Client) -> None:
    ada = conversation()
    quick = exchange(ada, "Quick?", "Yes.").pk
    ada.ask("Slow?")
    slow = ada.turns()[-1].pk
    Turn.objects.filter(pk=slow).update(queued_at=now() - timedelta(seconds=70))
    answer(claimed())
    assert listed(vera, duration="30") == listed(vera, duration="60") == [slow]
    assert listed(vera, duration="300") == []
    assert listed(vera) == [slow, quick]
    assert vera.get(list_of(Turn), {"duration": "31"}).status_code == 400
    sessions = changelist_of(vera, list_of(AgentSession), {"duration": "60"})
    assert [row.pk for row in sessions.result_list] == [ada.session_id]
