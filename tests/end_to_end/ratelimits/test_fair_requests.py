"""One person's requests and searches leave room for others'."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import psycopg
import pytest
from django.conf import settings
from django.test import AsyncClient, Client, override_settings

from accounts.requesters import find_requester, user_requester
from agents.sessions import search
from ratelimits import limiter
from ratelimits.models import Bucket
from rest.request_turns import enter_request, enter_search
from tests.support.rest import Rest, bearer, problem
from tests.support.sockets import Owner
from tests.support.surroundings import database_url

pytestmark = pytest.mark.usefixtures("transactional_db")


@pytest.fixture
def owner(transactional_db: None) -> Iterator[Owner]:
    limiter.leased_tokens.clear()
    owner = Owner()
    Rest(owner.key).get("agents")  # from now on it is known whose the key is
    Bucket.objects.all().delete()
    limiter.leased_tokens.clear()
    yield owner
    limiter.leased_tokens.clear()


def limited(**limits: int) -> Any:
    return override_settings(BANDSTAND=settings.BANDSTAND.model_copy(update=limits))


@contextmanager
def searches_wait() -> Iterator[None]:
    """A lock that every search waits for."""
    with psycopg.connect(database_url(settings.DATABASES["default"]["NAME"])) as other:
        other.execute("LOCK TABLE agents_message IN ACCESS EXCLUSIVE MODE")
        yield
        other.rollback()


def test_whose_a_credential_is_is_known_from_the_last_time_it_was_good(owner: Owner) -> None:
    assert find_requester(owner.key, "192.0.2.1") == user_requester(owner.user.pk)
    assert find_requester("bs_made_up", "192.0.2.1") == find_requester("bs_another", "192.0.2.1") == "a:192.0.2.1"


def test_requests_in_progress_are_limited_in_the_shape_of_each_interface(owner: Owner) -> None:
    requester = user_requester(owner.user.pk)
    with limited(requests_at_once_per_user=1):
        turn = enter_request(requester)
        refused = Rest(owner.key).get("agents")
        problem(refused, 429, "rate_limited")
        assert refused["Retry-After"] == "1"
        refused = Client().get("/v1/models", headers=bearer(owner.key))
        assert (refused.status_code, refused["Retry-After"]) == (429, "1")
        assert refused.json()["error"]["type"] == "rate_limit_error"
        refused = Client().get("/", headers=bearer(owner.key))
        assert (refused.status_code, refused["Retry-After"]) == (429, "1")
        assert Client().get("/health", headers=bearer(owner.key)).status_code == 200
        turn.leave()
        assert Rest(owner.key).get("agents").status_code == 200


def test_searches_at_once_are_fewer_than_other_requests(owner: Owner) -> None:
    rest, requester = Rest(owner.key), user_requester(owner.user.pk)
    searches = [enter_search(requester) for _ in range(settings.BANDSTAND.searches_at_once_per_user)]
    refused = rest.get("sessions?search=hello")
    problem(refused, 429, "rate_limited")
    assert refused["Retry-After"] == "1"
    assert rest.get("sessions").status_code == 200
    for search_turn in searches:
        search_turn.leave()
    assert rest.get("sessions?search=hello").status_code == 200


def test_a_search_that_takes_too_long_is_ended(owner: Owner, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(search, "SEARCH_SECONDS", 0.05)
    rest = Rest(owner.key)
    with searches_wait():
        refused = rest.get("sessions?search=hello")
    problem(refused, 503, "search_too_slow")
    assert refused["Retry-After"] == "1"
    assert rest.get("sessions?search=hello").status_code == 200


async def test_a_known_flood_is_refused_from_memory(owner: Owner) -> None:
    client = AsyncClient()
    with limited(requests_per_minute=2):
        answers = [await client.get("/api/v1/agents", headers=bearer(owner.key)) for _ in range(8)]
    assert {answer.status_code for answer in answers[-6:]} == {429}
    assert all(answer["RateLimit"].startswith('"requests";r=0') for answer in answers[-6:])
