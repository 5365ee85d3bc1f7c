"""Requests at work: how many one requester may have in progress, and who is next. All in memory, of one process.

Three things are shared in turns, and nobody has more than half of any: the event loop, on which a burst of a thousand
requests would otherwise stand before everybody's websockets; the threads of synchronous views, each of which holds a
connection of the pool; and searches, which read much.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import MutableMapping
from threading import Lock
from typing import Any

from django.conf import settings
from django.http import HttpRequest

from accounts.requesters import is_address
from foundation.db_threads import DATABASE_THREADS
from foundation.errors import RateLimited, Unavailable
from foundation.fair_shares import FairShares

# Enough to overlap what waits for the database; more only compete with everybody's websockets for the interpreter.
REQUESTS_AT_WORK = 4
# One waits for the database now and then, and another has the interpreter meanwhile.
CONSOLE_PAGES_AT_WORK = 2
SEARCHES_AT_WORK = 3
SEARCHES_AT_WORK_PER_REQUESTER = 2
# Of all who come from one address and are not known yet.
ADDRESS_FACTOR = 10
WAIT_SECONDS = 10.0
RETRY_SECONDS = 1.0

_SCOPE_KEY = "bandstand.request_turn"


class TooManyRequests(RateLimited):
    """You have too many requests in progress. Wait for some of them, and try again."""


class TooManySearches(RateLimited):
    """You have too many searches in progress. Wait for them, and try again."""


class RequestTurns:
    """The requests in progress, at work or not. Thread-safe, and for any event loop."""

    def __init__(self, *, at_work: int, share: int, refusal: type[RateLimited] = TooManyRequests) -> None:
        self._lock = Lock()
        self._shares: FairShares[RequestTurn] = FairShares(at_work, share)
        self._in_progress: Counter[str] = Counter()
        self._refusal = refusal

    def enter(self, requester: str, limit: int = 0) -> RequestTurn:
        """Count one more request in progress, until `RequestTurn.leave`; 0 is no limit. Raises `RateLimited`."""
        with self._lock:
            if limit and self._in_progress[requester] >= limit:
                raise self._refusal(retry_after_seconds=RETRY_SECONDS, rule="in_progress")
            self._in_progress[requester] += 1
        return RequestTurn(self, requester)

    def begin(self, turn: RequestTurn) -> bool:
        """Return whether `turn` is at work now; otherwise it is granted later."""
        with self._lock:
            turn.is_at_work = self._shares.add(turn.requester, turn)
            return turn.is_at_work

    def rest(self, turn: RequestTurn) -> None:
        """End the work of `turn`, or its waiting for work."""
        following = None
        with self._lock:
            if turn.has_rested:
                return
            turn.has_rested = True
            if turn.is_at_work:
                turn.is_at_work = False
                following = self._shares.finish(turn.requester)
            elif turn.is_waiting:
                self._shares.remove(turn.requester, turn)
            if following is not None:
                following.is_at_work = True
        if following is not None:
            following.grant()

    def leave(self, turn: RequestTurn) -> None:
        """The request of `turn` is no longer in progress."""
        with self._lock:
            if turn.has_left:
                return
            turn.has_left = True
            self._in_progress[turn.requester] -= 1
            if not self._in_progress[turn.requester]:
                del self._in_progress[turn.requester]


class RequestTurn:
    """One request in progress."""

    def __init__(self, turns: RequestTurns, requester: str) -> None:
        self.requester = requester
        self.is_at_work = False
        self._turns = turns
        self._granted: asyncio.Future[None] | None = None
        self.has_rested = False
        self.has_left = False

    @property
    def is_waiting(self) -> bool:
        return self._granted is not None and not self.is_at_work

    async def wait(self) -> None:
        """Wait until this request may work. Raises `Unavailable` when its turn does not come in time."""
        self._granted = asyncio.get_running_loop().create_future()
        if self._turns.begin(self):
            return
        try:
            await asyncio.wait_for(self._granted, WAIT_SECONDS)
        except TimeoutError:
            raise Unavailable(retry_after_seconds=RETRY_SECONDS) from None

    def grant(self) -> None:
        """Wake the request; called from any thread, once it is at work."""
        granted = self._granted
        assert granted is not None
        if not granted.get_loop().is_closed():
            granted.get_loop().call_soon_threadsafe(_set_done, granted)

    def rest(self) -> None:
        """The request works no longer, though it may be in progress. May be called from any thread, and twice."""
        self._turns.rest(self)

    def leave(self) -> None:
        """The request is no longer in progress. May be called from any thread, and twice."""
        self.rest()
        self._turns.leave(self)


def _set_done(granted: asyncio.Future[None]) -> None:
    if not granted.done():
        granted.set_result(None)


_threads = max(1, min(REQUESTS_AT_WORK, settings.BANDSTAND.database_pool_size - DATABASE_THREADS))
request_turns = RequestTurns(at_work=REQUESTS_AT_WORK, share=REQUESTS_AT_WORK // 2)
thread_turns = RequestTurns(at_work=_threads, share=max(1, _threads // 2))
# Pages of the console are the interpreter's work: two threads finish one person's pages no sooner than one does, and
# everybody else waits for the interpreter behind both.
console_turns = RequestTurns(at_work=min(CONSOLE_PAGES_AT_WORK, _threads), share=1)
search_turns = RequestTurns(at_work=SEARCHES_AT_WORK, share=SEARCHES_AT_WORK_PER_REQUESTER, refusal=TooManySearches)


def enter_request(requester: str) -> RequestTurn:
    """Count a request in progress. Raises `TooManyRequests`."""
    return request_turns.enter(requester, _limit(settings.BANDSTAND.requests_at_once_per_user, requester))


def enter_console(requester: str) -> RequestTurn:
    """Count a page of the console in progress."""
    return console_turns.enter(requester)


def enter_search(requester: str) -> RequestTurn:
    """Count a search in progress. Raises `TooManySearches`."""
    return search_turns.enter(requester, _limit(settings.BANDSTAND.searches_at_once_per_user, requester))


def _limit(limit: int, requester: str) -> int:
    return limit * ADDRESS_FACTOR if is_address(requester) else limit


def bind_turn(scope: MutableMapping[str, Any], turn: RequestTurn) -> None:
    """Note the turn of a request in its ASGI scope, for `find_turn`."""
    scope[_SCOPE_KEY] = turn


def find_turn(request: HttpRequest) -> RequestTurn | None:
    """The turn of a request; None where no server has counted it, as in tests of views."""
    turn: RequestTurn | None = getattr(request, "scope", {}).get(_SCOPE_KEY)
    return turn


def leave_turn(request: HttpRequest) -> None:
    """From now on the request only waits or streams, and is counted by its connection slot."""
    if (turn := find_turn(request)) is not None:
        turn.leave()
