"""The rows of routes: read by every process, written by a compare-and-swap on their revision.

A move is decided by the pure breaker on the row that was read, at the database's time, and written by one statement
only if nobody has written since; else it is decided anew. So no lock is held between the two, and none is lost.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any, Final, NamedTuple
from uuid import UUID

import orjson
import psycopg
from django.db import connection

from agents.domain.circuit_breaker import Breaker, BreakerState, CallBucket, ForcedState

ROUTES_CHANNEL: Final = "routes"
# Every try that fails means that somebody else has succeeded.
_MAX_TRIES = 50

_COLUMNS: Final = (
    "state", "generation", "failures_in_row", "opens_in_row", "probe_successes", "open_until", "probe_owner",
    "probe_until", "forced", "forced_until", "blocked_until", "buckets", "rate_limits", "pace_seconds", "paced_until",
    "last_error", "last_error_at", "changed_at",
)  # fmt: skip
_JSON: Final = frozenset({"buckets", "rate_limits"})


def _parameter(column: str) -> str:
    if column == "changed_at":
        return "coalesce(%(changed_at)s, clock_timestamp())"
    return f"%({column})s::jsonb" if column in _JSON else f"%({column})s"


_READ: Final = f"""
SELECT clock_timestamp(), r.provider, r.model, r.credential, r.id, r.revision, r.token_factor, r.context_window,
       {", ".join(f"r.{column}::text" if column in _JSON else f"r.{column}" for column in _COLUMNS)}
FROM (SELECT) one LEFT JOIN agents_routehealth r ON r.credential = ANY(%(credentials)s)
"""  # noqa: S608 - constants of this file
_READ_ONE: Final = f"{_READ} AND r.provider = %(provider)s AND r.model = %(model)s"
# The note is sent with the row, or not at all.
_NOTIFY: Final = f"SELECT id, CASE WHEN %(notify)s::boolean THEN pg_notify('{ROUTES_CHANNEL}', '') END FROM moved"  # noqa: S608
_UPDATE: Final = f"""
WITH moved AS (
    UPDATE agents_routehealth SET revision = revision + 1, {", ".join(f"{c} = {_parameter(c)}" for c in _COLUMNS)},
        -- `reserve_call` moves it on without a new revision.
        next_call_at = CASE WHEN %(paced_until)s::timestamptz IS NULL THEN NULL
                            ELSE greatest(next_call_at, %(next_call_at)s::timestamptz) END
    WHERE id = %(id)s AND revision = %(revision)s RETURNING id
) {_NOTIFY}
"""  # noqa: S608
_INSERT: Final = f"""
WITH moved AS (
    INSERT INTO agents_routehealth (provider, model, credential, revision, {", ".join(_COLUMNS)}, next_call_at)
    VALUES (%(provider)s, %(model)s, %(credential)s, 1, {", ".join(map(_parameter, _COLUMNS))}, %(next_call_at)s)
    ON CONFLICT (credential, provider, model) DO NOTHING RETURNING id
) {_NOTIFY}
"""  # noqa: S608
_USE: Final = f"""
INSERT INTO agents_routehealth (provider, model, credential, revision, {", ".join(_COLUMNS)})
VALUES (%(provider)s, %(model)s, %(credential)s, 1, {", ".join(map(_parameter, _COLUMNS))})
ON CONFLICT (credential, provider, model) DO UPDATE SET used_at = clock_timestamp()
"""  # noqa: S608
# The caller's place in the order of calls, and how long until it comes; no place where that is too long.
_NEXT_CALL: Final = """
WITH route AS (
    SELECT id, greatest(coalesce(next_call_at, now), now) AS place, now
    FROM agents_routehealth, (SELECT statement_timestamp() AS now) clock
    WHERE id = %(id)s AND paced_until > now FOR UPDATE OF agents_routehealth
), moved AS (
    UPDATE agents_routehealth r SET next_call_at = route.place + make_interval(secs => r.pace_seconds)
    FROM route WHERE r.id = route.id AND route.place - route.now <= make_interval(secs => %(max_seconds)s)
    RETURNING r.id
)
SELECT extract(epoch FROM place - now)::float8, EXISTS (SELECT FROM moved) FROM route
"""


class RouteKey(NamedTuple):
    """A row's key. `credential` is the fingerprint, `model` "" for the credential itself."""

    provider: str
    model: str
    credential: str


@dataclass(frozen=True, slots=True, kw_only=True)
class RouteRow:
    """A row as it was read; `id` is None for one that does not exist yet. `rate_limits` is JSON. `next_call_at` is not
    read: it is the earliest time of the next call that a move sets. Moves do not write `token_factor` and
    `context_window`: see `agents.routing.route_tokens`."""

    key: RouteKey
    id: int | None = None
    revision: int = 0
    breaker: Breaker = field(default_factory=Breaker)
    probe_owner: UUID | None = None
    rate_limits: Mapping[str, Any] | None = None
    pace_seconds: float | None = None
    paced_until: datetime | None = None
    next_call_at: datetime | None = None
    last_error: str = ""
    last_error_at: datetime | None = None
    changed_at: datetime | None = None
    token_factor: float | None = None
    context_window: int | None = None

    def is_paced(self, now: datetime) -> bool:
        """Whether calls are spaced at the moment."""
        return self.paced_until is not None and self.paced_until > now


# From a row, at the database's time, to what it is to become; the same row: nothing changes.
Move = Callable[[RouteRow, datetime], RouteRow]


def read_routes(
    credentials: Collection[str], *, on: psycopg.Connection | None = None
) -> tuple[list[RouteRow], datetime]:
    """All rows of `credentials`, and the database's time. `on` is a connection to use instead of Django's."""
    rows = _fetch(_READ, {"credentials": list(credentials)}, on=on)
    return [_row(row[1:]) for row in rows if row[1] is not None], rows[0][0]


def move_route(key: RouteKey, move: Move) -> tuple[RouteRow, datetime]:
    """Decide a move on the newest row and write it. Returns the row as it is then, and the time of the decision.

    Raises `RuntimeError` if others were first too often.
    """
    for _ in range(_MAX_TRIES):
        [found] = _fetch(_READ_ONE, {"credentials": [key.credential], "provider": key.provider, "model": key.model})
        old, now = (_row(found[1:]) if found[1] is not None else RouteRow(key=key)), found[0]
        new = move(old, now)
        if new == old:
            return old, now
        if new.breaker.state is not old.breaker.state:
            new = replace(new, changed_at=now)
        if (row_id := _write(old, new)) is not None:
            return replace(new, id=row_id, revision=old.revision + 1, next_call_at=None), now
    raise RuntimeError(f"{key.provider}:{key.model} was always changed by others")


def use_route(key: RouteKey) -> None:
    """Note that a process uses the route; makes its row if there is none."""
    _fetch(_USE, {**key._asdict(), **_values(RouteRow(key=key))}, returns=False)


def reserve_call(row_id: int, *, max_seconds: float) -> tuple[float, bool]:
    """Take the next place in the order of calls of a route whose calls are spaced. Returns the seconds until it comes,
    and whether it was taken: not if that is more than `max_seconds`."""
    rows = _fetch(_NEXT_CALL, {"id": row_id, "max_seconds": max_seconds})
    # They are no longer spaced, or the row is gone.
    return rows[0] if rows else (0.0, True)


def _write(old: RouteRow, new: RouteRow) -> int | None:
    """The row's id; None when somebody else was first."""
    params = {**_values(new), "notify": _is_news(old, new)}
    if old.id is None:
        rows = _fetch(_INSERT, {**params, **new.key._asdict()})
    else:
        rows = _fetch(_UPDATE, {**params, "id": old.id, "revision": old.revision})
    return rows[0][0] if rows else None


def _is_news(old: RouteRow, new: RouteRow) -> bool:
    """Whether others must know at once: of every move, and of the first of some failures, since their successes count
    from then on."""
    a, b = old.breaker, new.breaker
    return (
        (a.state, a.generation, a.forced, a.forced_until, a.blocked_until, a.probe_until)
        != (b.state, b.generation, b.forced, b.forced_until, b.blocked_until, b.probe_until)
        or (b.failures_in_row > 0) > (a.failures_in_row > 0)
        or (old.pace_seconds, old.paced_until) != (new.pace_seconds, new.paced_until)
    )


def _values(row: RouteRow) -> dict[str, Any]:
    breaker = row.breaker
    return {
        "state": breaker.state.value,
        "generation": breaker.generation,
        "failures_in_row": breaker.failures_in_row,
        "opens_in_row": breaker.opens_in_row,
        "probe_successes": breaker.probe_successes,
        "open_until": breaker.open_until,
        "probe_owner": row.probe_owner if breaker.probe_until is not None else None,
        "probe_until": breaker.probe_until,
        "forced": breaker.forced.value if breaker.forced is not None else "",
        "forced_until": breaker.forced_until,
        "blocked_until": breaker.blocked_until,
        "buckets": _json([[one.start, one.calls, one.failures, one.slow] for one in breaker.buckets]),
        "rate_limits": _json(row.rate_limits) if row.rate_limits is not None else None,
        "pace_seconds": row.pace_seconds,
        "paced_until": row.paced_until,
        "next_call_at": row.next_call_at,
        "last_error": row.last_error[:400],
        "last_error_at": row.last_error_at,
        "changed_at": row.changed_at,
    }


def _row(columns: Sequence[Any]) -> RouteRow:
    provider, model, credential, row_id, revision, token_factor, context_window = columns[:7]
    values = dict(zip(_COLUMNS, columns[7:], strict=True))
    return RouteRow(
        key=RouteKey(provider, model, credential),
        id=row_id,
        revision=revision,
        token_factor=token_factor,
        context_window=context_window,
        breaker=Breaker(
            state=BreakerState(values["state"]),
            forced=ForcedState(values["forced"]) if values["forced"] else None,
            buckets=tuple(CallBucket(*bucket) for bucket in orjson.loads(values["buckets"])),
            **{name: values[name] for name in _BREAKER},
        ),
        rate_limits=orjson.loads(values["rate_limits"]) if values["rate_limits"] is not None else None,
        **{name: values[name] for name in _REST},
    )


_BREAKER: Final = (
    "generation", "failures_in_row", "opens_in_row", "probe_successes", "open_until", "probe_until", "forced_until",
    "blocked_until",
)  # fmt: skip
_REST: Final = ("probe_owner", "pace_seconds", "paced_until", "last_error", "last_error_at", "changed_at")


def _json(value: Any) -> str:
    return orjson.dumps(value).decode()


def _fetch(
    sql: str, params: Mapping[str, Any], *, on: psycopg.Connection | None = None, returns: bool = True
) -> list[Any]:
    if on is not None:
        return on.execute(sql.encode(), params).fetchall()
    with connection.cursor() as cursor:
        cursor.execute(sql, params)
        return cursor.fetchall() if returns else []
