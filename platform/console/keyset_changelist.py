"""Lists of large tables by keyset pagination: no count, no page numbers, one index scan per page.

A page is the newest rows before a key. If filters or searches consist of conditions that each have an ordered index
(`filter_arms`, `search_arms`), the page is the newest of the newest rows of each (a UNION ALL), so that PostgreSQL
stops as soon as it has a page.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, ClassVar
from uuid import UUID

from django.contrib.admin.options import IncorrectLookupParameters
from django.core.exceptions import ValidationError
from django.db import connection, transaction
from django.db.models import Max, Q, QuerySet
from django.http import HttpRequest
from django.utils.functional import cached_property

from console.admin import ReadOnlyAdmin
from console.list_head import BEFORE

if TYPE_CHECKING:
    from django.contrib.admin.views.main import ChangeList
else:
    from unfold.views import ChangeList


@contextmanager
def custom_plan() -> Iterator[None]:
    """A transaction whose statements get custom plans.

    After a few executions, PostgreSQL may use a generic plan, which cannot use a partial index but looks cheap because
    of the LIMIT: it read a million rows.
    """
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute("SET LOCAL plan_cache_mode = force_custom_plan")
        yield


class Matching(int):
    """A number of rows that is displayed as "matching", because the rows are not counted."""

    def __str__(self) -> str:
        return "matching"


class KeysetChangeList(ChangeList):
    """The newest rows before the key in the query string."""

    model_admin: KeysetAdmin
    older: str | None
    first_page: bool
    order_words = "newest first"

    def get_filters_params(self, params: dict[str, Any] | None = None) -> dict[str, Any]:
        filters: dict[str, Any] = super().get_filters_params(params)
        filters.pop(BEFORE, None)
        return filters

    def get_results(self, request: HttpRequest) -> None:
        cursor = request.GET.get(BEFORE)
        try:
            rows = self.filter_after(self.queryset, cursor) if cursor else self.queryset
            with custom_plan():
                keys = list(self.newest_keys(self.ordered(rows), self.list_per_page + 1))
        except (ValueError, ValidationError) as error:
            raise IncorrectLookupParameters(error) from error
        self.first_page = not cursor
        self._forget_place(request)
        more = len(keys) > self.list_per_page
        keys = keys[: self.list_per_page]
        self.newest = self.get_query_string()
        rows = self.model_admin.annotate(self.apply_select_related(self.root_queryset).filter(pk__in=keys))
        rows_by_key = {row.pk: row for row in rows}
        self.result_list = [rows_by_key[key] for key in keys if key in rows_by_key]
        self.older = self.get_query_string({BEFORE: self.make_cursor(keys[-1])}) if more else None
        self.model_admin.complete(request, self.result_list)
        self.result_count = Matching(len(keys) + more)
        # Equal to `result_count`, so that the templates do not show a number of results.
        self.full_result_count = self.result_count
        self.show_full_result_count = False
        self.show_admin_actions = True
        self.can_show_all = self.multi_page = False
        self.paginator = self.model_admin.get_paginator(request, self.result_list, self.list_per_page)

    def ordered(self, rows: QuerySet[Any]) -> QuerySet[Any]:
        """`rows` in the order of the list."""
        return rows.order_by("-pk")

    def filter_after(self, rows: QuerySet[Any], cursor: str) -> QuerySet[Any]:
        """Those of `rows` that come after `cursor`. Raises `ValueError` or `ValidationError` for what is none."""
        return rows.filter(pk__lt=cursor)

    def make_cursor(self, last: Any) -> str:
        """The place at which a page ends whose last key is `last`. Called when its rows were read."""
        return str(last)

    def _forget_place(self, request: HttpRequest) -> None:
        """Keep the cursor out of the forms of search and filters: another list begins with its newest row."""
        self.filter_params.pop(BEFORE, None)
        query = request.GET.copy()
        query.pop(BEFORE, None)
        request.GET = query  # type: ignore[assignment]

    def newest_keys(self, rows: QuerySet[Any], limit: int) -> QuerySet[Any] | list[Any]:
        """The keys of the first `limit` of `rows` of this list, which are ordered newest first."""
        arms = self.model_admin.search_arms(self.query) or self.model_admin.filter_arms(self.filter_specs)
        if parts := self.model_admin.filter_parts(self.filter_specs):
            return _first_keys(rows, parts, arms, limit)
        if not arms:
            if self.query == "" and self.has_active_filters:
                rows = self.model_admin.look_back(rows)
            return rows.values_list("pk", flat=True)[:limit]
        return _newest_of_arms(rows, arms, limit)

    @cached_property
    def row_estimate(self) -> str:
        """PostgreSQL's estimate of the rows of the table, formatted; "" on filtered lists and small tables."""
        if self.query or self.has_active_filters:
            return ""
        with connection.cursor() as cursor:
            cursor.execute(
                "SELECT reltuples::bigint FROM pg_class WHERE oid = %s::regclass", [self.model._meta.db_table]
            )
            [(rows,)] = cursor.fetchall()
        return f"{rows:,}" if rows > 1_000 else ""


class KeysetAdmin(ReadOnlyAdmin):
    """A read-only admin for a large table, with keyset pagination."""

    change_list_template = "console/keyset_changelist.html"
    list_filter_submit = True
    # Filters without an index are limited to so many of the newest rows; for integer keys only.
    looks_back: ClassVar[int | None] = None

    def get_changelist(self, request: HttpRequest, **_kwargs: Any) -> type[Any]:  # noqa: ARG002
        return KeysetChangeList

    def search_arms(self, _term: str) -> Sequence[Q]:
        """Conditions whose union is the search, each with an ordered index; empty: a single query is used."""
        return ()

    def filter_arms(self, _specs: Sequence[Any]) -> Sequence[Q]:
        """Conditions that together are the filters in use, each with an order in an index; none: the planner knows."""
        return ()

    def filter_parts(self, _specs: Sequence[Any]) -> Sequence[Q]:
        """Conditions that part the rows of the list by their keys, the newest first: each part is read only if those
        before it do not fill the page; none: the list is not parted. The first one lists its keys, the others are read
        by the `filter_arms`, if there are any."""
        return ()

    def annotate(self, rows: QuerySet[Any]) -> QuerySet[Any]:
        """`rows` of one page, with further columns; as they are by default."""
        return rows

    def complete(self, request: HttpRequest, rows: Sequence[Any]) -> None:
        """Add attributes to the rows of a page, with one query for all of them. Does nothing by default."""

    def look_back(self, rows: QuerySet[Any]) -> QuerySet[Any]:
        """`rows`, limited to the newest `looks_back` keys of the table, if that is set."""
        if self.looks_back is None:
            return rows
        newest = self.model._default_manager.aggregate(newest=Max("pk"))["newest"] or 0
        return rows.filter(pk__gt=newest - self.looks_back)


def _newest_of_arms(rows: QuerySet[Any], arms: Sequence[Q], limit: int) -> QuerySet[Any]:
    first, *rest = [rows.filter(arm).values_list("pk", flat=True)[:limit] for arm in arms]
    return first.union(*rest, all=True).order_by("-pk")[:limit] if rest else first


def _first_keys(rows: QuerySet[Any], parts: Sequence[Q], arms: Sequence[Q], limit: int) -> list[Any]:
    listed, *others = parts
    keys = list(rows.filter(listed).values_list("pk", flat=True)[:limit])
    for part in others:
        if (left := limit - len(keys)) <= 0:
            break
        matching = rows.filter(part)
        keys += _newest_of_arms(matching, arms, left) if arms else matching.values_list("pk", flat=True)[:left]
    return keys


def parse_uuid(term: str) -> UUID | None:
    """The UUID in a search term, in any of its spellings, or None."""
    try:
        return UUID(term.strip())
    except ValueError:
        return None
