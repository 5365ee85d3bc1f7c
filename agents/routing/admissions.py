"""The right to ask a route once: what its holder reports goes to the guard, once."""

from __future__ import annotations

from typing import TYPE_CHECKING

from agents.domain.rate_limits import RateLimits

if TYPE_CHECKING:
    from agents.routing.guard import ProcessRouteGuard
    from agents.routing.route_entry import CallError, RouteEntry


class UncountedAdmission:
    """The right to ask a route that is not guarded."""

    __slots__ = ()
    first_token_seconds: float | None = None
    wants_tokens = False

    def record_tokens(self, *, estimated: int, reported: int, window: int | None) -> None:
        """Nothing."""

    def record_rate(self, limits: RateLimits) -> None:
        """Nothing."""

    async def record_first_token(self, seconds: float) -> None:
        """Nothing."""

    async def record_success(self, seconds: float | None = None) -> None:
        """Nothing."""

    async def record_failure(self, error: CallError) -> None:
        """Nothing."""

    async def release(self) -> None:
        """Nothing."""


class CallAdmission:
    """The right to make an ordinary call."""

    __slots__ = ("_entry", "_generation", "_guard", "_is_over", "_is_slow")
    first_token_seconds: float | None = None

    def __init__(self, guard: ProcessRouteGuard, entry: RouteEntry) -> None:
        self._guard = guard
        self._entry = entry
        self._generation = entry.row.breaker.generation
        self._is_slow = False
        self._is_over = False

    @property
    def wants_tokens(self) -> bool:
        """Whether the tokens of this call are of interest."""
        return self._entry.tokens.is_due()

    def record_tokens(self, *, estimated: int, reported: int, window: int | None) -> None:
        """The tokens of the request, as estimated and as its provider counts them, and the model's window."""
        self._guard.take_tokens(self._entry, estimated=estimated, reported=reported, window=window)

    def record_rate(self, limits: RateLimits) -> None:
        """What the provider said of its limits."""
        self._guard.take_limits(self._entry, limits)

    async def record_first_token(self, seconds: float) -> None:
        """The first sign of life came after `seconds`."""
        self._is_slow = seconds > self._entry.figures.slow_seconds

    async def record_success(self, seconds: float | None = None) -> None:
        """The call has its answer; `seconds` to its first sign of life, if that was not recorded."""
        if seconds is not None:
            await self.record_first_token(seconds)
        if not self._is_over:
            self._is_over = True
            self._guard.count_success(self._entry, self._generation, slow=self._is_slow)

    async def record_failure(self, error: CallError) -> None:
        """The call has failed with `error`."""
        if not self._is_over:
            self._is_over = True
            await self._guard.count_failure(self._entry, self._generation, error, slow=self._is_slow)

    async def release(self) -> None:
        """The call does not count."""
        self._is_over = True


class ProbeAdmission:
    """The right to find out whether a route works again. It has to have its first token in `seconds`: its lease ends
    soon after."""

    __slots__ = ("_entry", "_generation", "_guard", "_has_passed", "_is_over", "first_token_seconds")

    def __init__(self, guard: ProcessRouteGuard, entry: RouteEntry, generation: int, seconds: float) -> None:
        self.first_token_seconds: float | None = seconds
        self._guard = guard
        self._entry = entry
        self._generation = generation
        self._has_passed = False
        self._is_over = False

    wants_tokens = False

    def record_tokens(self, *, estimated: int, reported: int, window: int | None) -> None:
        """Nothing: ordinary calls will tell."""

    def record_rate(self, limits: RateLimits) -> None:
        """What the provider said of its limits."""
        self._guard.take_limits(self._entry, limits)

    async def record_first_token(self, seconds: float) -> None:  # noqa: ARG002 - its deadline has judged that
        """The first sign of life: the probe has succeeded."""
        if not self._has_passed and not self._is_over:
            self._has_passed = True
            await self._guard.pass_probe(self._entry, self._generation)

    async def record_success(self, seconds: float | None = None) -> None:
        """The call has its answer."""
        await self.record_first_token(seconds or 0)
        self._is_over = True

    async def record_failure(self, error: CallError) -> None:
        """The call has failed with `error`, before its first token or after it."""
        if not self._is_over:
            self._is_over = True
            await self._guard.fail_probe(self._entry, self._generation, error)

    async def release(self) -> None:
        """The call does not count: the next probe may begin."""
        if not self._is_over:
            self._is_over = True
            if not self._has_passed:
                await self._guard.release_probe(self._entry, self._generation)
