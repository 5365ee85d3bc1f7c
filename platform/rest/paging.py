"""Pages by position: a cursor names the row next to which a page begins, so that no page skips or repeats rows."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from django.core import signing
from django.db.models import Model, Q, QuerySet
from django.http import HttpRequest

from rest.query_params import Reader, whole_number

DEFAULT_LIMIT = 50
LARGEST_LIMIT = 100

limit_parameter = whole_number(minimum=1, maximum=LARGEST_LIMIT)


@dataclass(frozen=True, slots=True)
class Order:
    """The order of a list, by fields that are unique together, all rising or all falling.

    `name` keeps a cursor of one list from being used on another.
    """

    name: str
    fields: tuple[str, ...]
    falling: bool = False

    def cursor_parameter(self) -> Reader:
        def read(text: str) -> Cursor:
            try:
                backward, position = signing.loads(text, salt=self._salt)
            except (signing.BadSignature, ValueError, TypeError):
                raise ValueError("This is not a cursor of this list.") from None
            return Cursor(bool(backward), tuple(position))

        return read

    def write(self, row: Model, *, backward: bool) -> str:
        position = [_plain(getattr(row, field)) for field in self.fields]
        return signing.dumps([backward, position], salt=self._salt)

    @property
    def _salt(self) -> str:
        return f"agents.api.page.{self.name}"


@dataclass(frozen=True, slots=True)
class Cursor:
    """A place in a list: the rows after `position`, or before it."""

    backward: bool
    position: tuple[Any, ...]


def paginate(
    request: HttpRequest,
    rows: QuerySet[Any],
    *,
    order: Order,
    limit: int = DEFAULT_LIMIT,
    cursor: Cursor | None = None,
    shape: Callable[[Any], Any],
) -> dict[str, Any]:
    """`{results, next, previous}`: one query, one row more than asked to see whether there are others."""
    backward = cursor is not None and cursor.backward
    falling = order.falling != backward
    if cursor is not None:
        rows = rows.filter(_beyond(order.fields, cursor.position, falling=falling))
    page = list(rows.order_by(*(f"-{field}" if falling else field for field in order.fields))[: limit + 1])
    has_more, page = len(page) > limit, page[:limit]
    if backward:
        page.reverse()
    has_next, has_previous = (bool(page), has_more) if backward else (has_more, cursor is not None and bool(page))
    return {
        "results": [shape(row) for row in page],
        "next": _address(request, order.write(page[-1], backward=False)) if has_next else None,
        "previous": _address(request, order.write(page[0], backward=True)) if has_previous else None,
    }


def _beyond(fields: Sequence[str], position: Sequence[Any], *, falling: bool) -> Q:
    """Rows after `position` in the order of `fields`; the first condition is there for the index."""
    first, value = fields[0], position[0]
    compare = "lt" if falling else "gt"
    if len(fields) == 1:
        return Q(**{f"{first}__{compare}": value})
    rest = _beyond(fields[1:], position[1:], falling=falling)
    return Q(**{f"{first}__{compare}e": value}) & (Q(**{f"{first}__{compare}": value}) | rest)


def _plain(value: Any) -> Any:
    if isinstance(value, datetime):
        return value.isoformat()
    return str(value) if isinstance(value, UUID) else value


def _address(request: HttpRequest, cursor: str) -> str:
    query = request.GET.copy()
    query["cursor"] = cursor
    return request.build_absolute_uri(f"{request.path}?{query.urlencode()}")
