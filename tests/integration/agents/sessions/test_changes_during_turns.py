"""What people change while one turn runs and another waits: both are answered once, as they were asked."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta

import pytest
from django.contrib.auth.models import Group
from django.db import IntegrityError
from django.db.models import ProtectedError

from accounts.actor import Actor
from accounts.api_keys import authenticate_key, revoke_api_key
from accounts.models import ApiKey, AuditEntry, User
from accounts.permissions import user_actor
from accounts.roles import Role
from accounts.users import deactivate_user
from agents.models import Agent
from agents.releases import archive_agent, publish, roll_back
from agents.sessions import DoesNotApply, cancel_any_turn, create_session, fork_session, retry_turn
from foundation.clock import now
from foundation.errors import InvalidInput, NotFound, Unauthenticated
from tests.support.conversations import Conversation, answer, claimed, conversation, fail, say
from tests.support.people import key_of, person, write_draft

pytestmark = pytest.mark.usefixtures("transactional_db")


@pytest.fixture
def owner() -> Actor:
    return user_actor(person("olga", Role.OWNER))


def agent_of(ada: Conversation) -> Agent:
    return ada.row.agent


def user_of(ada: Conversation) -> User:
    return ada.row.user


def key_row(ada: Conversation) -> ApiKey:
    return ApiKey.objects.get(user=user_of(ada))


def publish_another(owner: Actor, ada: Conversation) -> None:
    write_draft(agent_of(ada), instructions="Be rude.", version=2)
    publish(owner, agent_id=agent_of(ada).pk, expected_version=2)


def publish_another_and_roll_it_back(owner: Actor, ada: Conversation) -> None:
    publish_another(owner, ada)
    roll_back(owner, agent_id=agent_of(ada).pk, number=1)


def archive(owner: Actor, ada: Conversation) -> None:
    archive_agent(owner, agent_id=agent_of(ada).pk)


def close(owner: Actor, ada: Conversation) -> None:
    deactivate_user(owner, user_id=user_of(ada).pk)


def revoke_the_key(owner: Actor, ada: Conversation) -> None:
    revoke_api_key(owner, key_id=key_row(ada).pk)


def let_the_key_expire(_: Actor, ada: Conversation) -> None:
    ApiKey.objects.filter(pk=key_row(ada).pk).update(expires_at=now() - timedelta(seconds=1))


def delete_the_key(_: Actor, ada: Conversation) -> None:
    key_row(ada).delete()


def give_the_agent_to_others(_: Actor, ada: Conversation) -> None:
    agent_of(ada).groups.add(Group.objects.get(name=Role.BUILDER))


Change = Callable[[Actor, Conversation], None]
CHANGES: list[Change] = [
    publish_another,
    publish_another_and_roll_it_back,
    archive,
    close,
    revoke_the_key,
    let_the_key_expire,
    delete_the_key,
    give_the_agent_to_others,
]


def with_a_key() -> tuple[Conversation, str]:
    """A conversation of somebody with a key, and the key."""
    ada = conversation()
    plain = key_of(user_of(ada))
    user_of(ada).groups.add(Group.objects.get(name=Role.USER))
    return Conversation(authenticate_key(plain), ada.session_id), plain


@pytest.mark.parametrize("change", CHANGES, ids=lambda change: change.__name__)
def test_a_running_and_a_waiting_turn_are_answered_once_on_the_release_they_were_asked_of(
    change: Change, owner: Actor
) -> None:
    ada, _ = with_a_key()
    ada.asks(2)
    release = ada.row.release_id
    work = claimed()
    say(work, "Hel")
    change(owner, ada)
    say(work, "lo")
    answer(work)
    following = claimed()
    assert following.release_id == work.release_id == release
    answer(following, "Hello again")
    assert ada.said() == [
        ("user", "Question 1"), ("user", "Question 2"), ("agent", "Hello"), ("agent", "Hello again"),
    ]  # fmt: skip
    assert ada.statuses() == ["completed", "completed"]
    assert ada.log().count("turn.completed") == 2
    assert (ada.row.open_turns, ada.row.active_turn_id) == (0, None)


@pytest.mark.parametrize("change", [close, revoke_the_key, let_the_key_expire], ids=lambda change: change.__name__)
def test_whoever_is_let_in_no_more_asks_nothing_more(change: Change, owner: Actor) -> None:
    ada, plain = with_a_key()
    ada.ask()
    change(owner, ada)
    with pytest.raises(Unauthenticated):
        authenticate_key(plain)


def test_an_archived_agent_goes_on_with_those_it_talks_to_and_begins_with_nobody(owner: Actor) -> None:
    ada, _ = with_a_key()
    archive(owner, ada)
    ada.ask()
    answer(claimed())
    assert ada.statuses() == ["completed"]
    assert fork_session(ada.actor, session_id=ada.session_id).release_id == ada.row.release_id
    with pytest.raises(InvalidInput):
        create_session(ada.actor, agent_slug="demo")


def test_an_agent_that_was_given_to_others_takes_no_more_messages(owner: Actor) -> None:
    ada, _ = with_a_key()
    give_the_agent_to_others(owner, ada)
    with pytest.raises(NotFound):
        ada.ask()
    assert ada.turns() == []


def test_the_turns_of_a_closed_account_can_be_stopped_and_the_trail_says_who_closed_it(owner: Actor) -> None:
    ada, _ = with_a_key()
    ada.ask()
    close(owner, ada)
    cancel_any_turn(owner, turn_id=ada.turn().pk)
    assert ada.statuses() == ["cancelled"]
    actions = AuditEntry.objects.filter(actor="olga").order_by("id").values_list("action", flat=True)
    assert list(actions) == ["user.closed", "turn.cancelled"]


def test_an_operator_reads_why_a_question_cannot_be_asked_again(owner: Actor) -> None:
    ada, _ = with_a_key()
    ada.ask()
    fail(claimed())
    give_the_agent_to_others(owner, ada)
    with pytest.raises(DoesNotApply, match="groups"):
        retry_turn(owner, turn_id=ada.turn().pk)
    assert ada.statuses() == ["failed"]


def test_an_account_with_conversations_is_deleted_by_nobody() -> None:
    ada, _ = with_a_key()
    ada.ask()
    with pytest.raises(ProtectedError):
        user_of(ada).delete()
    key_row(ada).delete()
    user_of(ada).groups.clear()
    with pytest.raises(IntegrityError, match="agents_agentsession"):
        User.objects.filter(pk=user_of(ada).pk)._raw_delete("default")
    answer(claimed())
    assert ada.statuses() == ["completed"]
    assert ada.turn().user_id == ada.actor.user_id
