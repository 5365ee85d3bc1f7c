"""Ratings in the console: in the transcript, in lists and filters, as figures, and who may read the comments."""

from __future__ import annotations

from typing import Any

import pytest
from django.contrib.auth.models import Group
from django.test import Client
from django.urls import reverse

from accounts.roles import Role
from agents.models import Agent, AgentSession, Feedback, Message, Release, Turn
from agents.sessions import fork_session, give_feedback, withdraw_feedback
from agents.sessions.rating_counts import RatingCounts, count_ratings
from tests.support.consoles import client_of, list_of, page_of
from tests.support.conversations import Conversation, answer, claimed, conversation
from tests.support.people import OFFLINE

pytestmark = pytest.mark.django_db

COMMENT = "That is <not> so."


@pytest.fixture
def vera() -> Client:
    return client_of("vera", Role.VIEWER)


def answered(name: str = "ada") -> Conversation:
    ada = conversation(name)
    ada.ask("How long?")
    answer(claimed(), "Soon.")
    return ada


def rate(ada: Conversation, value: int, comment: str = "") -> Feedback:
    reply = Message.objects.filter(agent_session_id=ada.session_id, author="agent").latest("ordinal")
    return give_feedback(ada.actor, message_id=reply.pk, value=value, comment=comment)


def listed(client: Client, model: Any, **query: Any) -> list[Any]:
    page = client.get(list_of(model), query)
    assert page.status_code == 200
    return [row.pk for row in page.context["cl"].result_list]


def text(client: Client, address: str) -> str:
    page = client.get(address)
    assert page.status_code == 200
    return page.content.decode()


def test_a_rating_shows_in_the_transcript_the_lists_and_its_own_list(vera: Client) -> None:
    ada, bob = answered(), answered("bob")
    rating, turn = rate(ada, -1, COMMENT), ada.turn()
    assert (rating.turn_id, rating.release_id) == (turn.pk, turn.release_id)
    rate(bob, 1)
    for address in (page_of(turn), page_of(ada.row), list_of(Feedback)):
        assert "rated down" in text(vera, address)
        assert "That is &lt;not&gt; so." in text(vera, address)
    assert "rated down" in text(vera, list_of(Turn))
    assert f"?turn={turn.pk}" in text(vera, list_of(Feedback))
    assert "That is &lt;not&gt; so." in text(vera, page_of(rating))
    for value, rated in (("down", [ada]), ("up", [bob]), ("any", [bob, ada])):
        assert listed(vera, Turn, rated=value) == [one.turn().pk for one in rated]
        assert listed(vera, AgentSession, rated=value) == [one.session_id for one in rated]
    assert vera.get(list_of(Turn), {"rated": "sideways"}).status_code == 400


def test_an_open_transcript_is_told_of_a_rating_and_of_its_end(vera: Client) -> None:
    ada = answered()
    live = reverse("admin:agents_agentsession_live", args=[ada.session_id])
    for is_rated in (True, False):
        seq = ada.row.next_seq - 1
        if is_rated:
            rate(ada, -1, COMMENT)
        else:
            withdraw_feedback(ada.actor, message_id=ada.messages()[-1].pk)
        [block] = vera.get(live, {"after": seq}).json()["blocks"]
        assert block["key"] == f"turn-{ada.turn().pk}"
        assert ("rated down" in block["html"]) == is_rated


def test_comments_are_for_those_who_may_read_the_transcript(vera: Client) -> None:
    ada = answered()
    rating = rate(ada, -1, COMMENT)
    Agent.objects.get().groups.add(Group.objects.create(name="closed"))
    for address in (page_of(ada.turn()), page_of(ada.row), list_of(Feedback), page_of(rating)):
        assert "rated down" in text(vera, address)
        assert "so." not in text(vera, address)
    assert listed(vera, Feedback) == [rating.pk]


def test_the_list_is_filtered_by_agent_release_value_comment_and_time(vera: Client) -> None:
    ada, other = answered(), conversation("bob", slug="other")
    other.ask()
    answer(claimed())
    down, up = rate(ada, -1, COMMENT).pk, rate(other, 1).pk
    demo, release = Agent.objects.get(slug="demo"), Release.objects.get(agent__slug="other")
    for query, expected in (
        ({}, [up, down]),
        ({"agent": demo.pk}, [down]),
        ({"agent": release.agent_id, "release": release.pk}, [up]),
        ({"value": "up"}, [up]),
        ({"comment": "yes"}, [down]),
        ({"of": "turns"}, [up, down]),
        ({"of": "others"}, []),
        ({"since": "2020-01-01", "until": "2020-01-02"}, []),
        ({"q": "ada"}, [down]),
        ({"q": ada.turn().pk}, [down]),
    ):
        assert listed(vera, Feedback, **query) == expected, query
    for query in ({"agent": "x"}, {"value": "2"}, {"of": "all"}, {"comment": "no"}):
        assert vera.get(list_of(Feedback), query).status_code == 400


def test_a_release_and_its_agent_show_their_share_of_thumbs_down(vera: Client) -> None:
    first = answered()
    rate(first, -1)
    demo = Agent.objects.get()
    old = demo.live_release
    assert old is not None
    new = Release.objects.create(agent=demo, number=2, configuration=OFFLINE)
    Agent.objects.update(live_release=new)
    second = answered("bob")
    rate(second, 1)
    rate(answered("cyd"), 1)
    assert count_ratings() == {old.pk: RatingCounts(0, 1), new.pk: RatingCounts(2, 0)}
    assert count_ratings([new.pk], until=first.row.created_at) == {}
    assert "33 % down, of 3</a>" in text(vera, page_of(demo))
    assert "100 % down, of 1</a>" in text(vera, page_of(demo))
    assert "0 % down, of 2</a>" in text(vera, page_of(new))


def test_a_rating_of_a_copy_is_listed_and_counts_no_second_time(vera: Client) -> None:
    ada = answered()
    release = ada.turn().release_id
    rate(ada, -1)
    copy = Conversation(ada.actor, fork_session(ada.actor, session_id=ada.session_id).pk)
    assert Feedback.objects.count() == 1
    rating = rate(copy, -1, COMMENT)
    assert (rating.turn_id, rating.release_id) == (None, None)
    assert count_ratings() == {release: RatingCounts(0, 1)}
    assert len(listed(vera, Feedback)) == 2
    assert listed(vera, Feedback, of="others") == [rating.pk]
    assert listed(vera, Turn, rated="down") == [ada.turn().pk]
    assert {one.name: one.value for one in vera.get("/admin/").context["metrics"]}["Rated down, past day"] == "1"
    assert "That is &lt;not&gt; so." in text(vera, page_of(copy.row))


def test_a_changed_or_withdrawn_rating_counts_as_it_is() -> None:
    ada = answered()
    release = ada.turn().release_id
    rate(ada, -1)
    rate(ada, 1)
    assert count_ratings() == {release: RatingCounts(1, 0)}
    withdraw_feedback(ada.actor, message_id=ada.messages()[-1].pk)
    assert count_ratings() == {}
