"""Cursor pagination: a cursor names the row next to which a page begins, so that no page skips or repeats rows."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from django.core import signing
from django.db.models import Model, Q, QuerySet
from django.http import HttpRequest

from foundation.page_size import count_fitting
from rest.query_params import Reader, bounded_integer

DEFAULT_LIMIT = 50
LARGEST_LIMIT = 100

limit_parameter = bounded_integer(minimum=1, maximum=LARGEST_LIMIT)


@dataclass(frozen=True, slots=True)
class Order:
    """The order of a list, by fields that are unique together, all ascending or all descending.

    `name` is signed into cursors, so that a cursor of one list is invalid for another.
    """

    name: str
    fields: tuple[str, ...]
    descending: bool = False

    def cursor_parameter(self) -> Reader:
        """A reader of the query parameter `cursor`, for `read_query`."""

        def read(text: str) -> Cursor:
            try:
                backward, position = signing.loads(text, salt=self._salt)
            except (signing.BadSignature, ValueError, TypeError):
                raise ValueError("This is not a cursor of this list.") from None
            return Cursor(bool(backward), tuple(position))

        return read

    def write(self, row: Model, *, backward: bool) -> str:
        """The signed cursor of the page after `row`, or before it."""
        position = [_plain(getattr(row, field)) for field in self.fields]
        return signing.dumps([backward, position], salt=self._salt)

    @property
    def _salt(self) -> str:
        return f"rest.page.{self.name}"


@dataclass(frozen=True, slots=True)
class Cursor:
    """A position in a list: the page has the rows after it, or before it if `backward`."""

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
    size_field: str | None = None,
) -> dict[str, Any]:
    """`{results, next, previous}`, by one query, which reads one row more to see whether another page follows.

    `shape` converts a row to JSON. `size_field` has the size of a row in bytes: by one query more the page gets no more
    rows than fit into one."""
    backward = cursor is not None and cursor.backward
    descending = order.descending != backward
    if cursor is not None:
        rows = rows.filter(_beyond(order.fields, cursor.position, descending=descending))
    rows = rows.order_by(*(f"-{field}" if descending else field for field in order.fields))
    if size_field is not None:
        limit = max(1, count_fitting(rows.values_list(size_field, flat=True)[:limit]))
    page = list(rows[: limit + 1])
    has_more, page = len(page) > limit, page[:limit]
    if backward:
        page.reverse()
    has_next, has_previous = (bool(page), has_more) if backward else (has_more, cursor is not None and bool(page))
    return {
        "results": [shape(row) for row in page],
        "next": _address(request, order.write(page[-1], backward=False)) if has_next else None,
        "previous": _address(request, order.write(page[0], backward=True)) if has_previous else None,
    }


def _beyond(fields: Sequence[str], position: Sequence[Any], *, descending: bool) -> Q:
    """The condition for rows after `position` in the order of `fields`; its first part is redundant, for the index."""
    first, value = fields[0], position[0]
    compare = "lt" if descending else "gt"
    if len(fields) == 1:
        return Q(**{f"{first}__{compare}": value})
    rest = _beyond(fields[1:], position[1:], descending=descending)
    return Q(**{f"{first}__{compare}e": value}) & (Q(**{f"{first}__{compare}": value}) | rest)


def _plain(value: Any) -> Any:
    if isinstance(value, datetime):
        return value.isoformat()
    return str(value) if isinstance(value, UUID) else value


def _address(request: HttpRequest, cursor: str) -> str:
    query = request.GET.copy()
    query["cursor"] = cursor
    return request.build_absolute_uri(f"{request.path}?{query.urlencode()}")
