"""What the query string of a list may hold: the parameters that its declared filters read."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

from django.contrib.admin import FieldListFilter, ModelAdmin, SimpleListFilter
from django.contrib.admin.utils import get_fields_from_path
from django.core.exceptions import BadRequest
from django.http import HttpRequest


class UnknownFilter(BadRequest):
    """A list has no such filter, or its filter has no such value."""

    rule = "console_filter"

    def __init__(self) -> None:
        super().__init__("This list has no such filter, or the filter has no such value.")


def filter_parameters(model_admin: ModelAdmin[Any], filters: Iterable[Any]) -> frozenset[str]:
    """The names in a query string that `filters`, of `list_filter`, read: such as `status__exact`.

    May query the database: Django makes the choices of a filter together with it.
    """
    return frozenset(_parameters(model_admin, filters))


def _parameters(model_admin: ModelAdmin[Any], filters: Iterable[Any]) -> Iterator[str]:
    for declared in filters:
        if isinstance(declared, type) and issubclass(declared, SimpleListFilter):
            yield str(declared.parameter_name)
            continue
        path, make_filter = declared if isinstance(declared, tuple) else (declared, FieldListFilter.create)
        field = get_fields_from_path(model_admin.model, path)[-1]
        one = make_filter(field, HttpRequest(), {}, model_admin.model, model_admin, field_path=path)
        yield from one.expected_parameters()
