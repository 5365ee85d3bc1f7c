"""What stands above a list: its tabs, and a chip for each filter in use, which takes that filter away."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

from django.contrib.admin.views.main import PAGE_VAR, SEARCH_VAR, ChangeList
from django.urls import reverse
from django.utils.http import urlencode

from console.field_filters import FieldFilter

# The place in a long list, which belongs to the rows that match now.
BEFORE: Final = "before"


@dataclass(frozen=True, slots=True)
class ListTab:
    """A view of a list that people need all the time: the filters that it sets. No filters: all rows.

    `view` is the URL name of another list; "": this one. `is_default`: its rows are also those of the list without
    filters.
    """

    title: str
    parameters: Mapping[str, str]
    view: str = ""
    is_default: bool = False


@dataclass(frozen=True, slots=True)
class TabLink:
    """A tab as the page shows it. `is_current`: its filters, and none of another tab, are in use."""

    title: str
    address: str
    is_current: bool


@dataclass(frozen=True, slots=True)
class Chip:
    """A filter in use, or the search: `title` and `value` in words, and the `address` of the list without it.

    `is_private`: the value is what somebody searched for, and may stand in nothing that is kept.
    """

    title: str
    value: str
    address: str
    is_private: bool = False


def tab_links(changelist: ChangeList) -> list[TabLink]:
    """The tabs of the list. Each keeps the search and the filters that no tab sets."""
    tabs: tuple[ListTab, ...] = getattr(changelist.model_admin, "list_tabs", ())
    names = {name for tab in tabs if not tab.view for name in tab.parameters}
    current = {name: value for name in names if (value := str(changelist.params.get(name, "")))}
    links = []
    for tab in tabs:
        if tab.view:
            address = f"{reverse(tab.view)}?{urlencode(tab.parameters)}"
            links.append(TabLink(tab.title, address, is_current=False))
            continue
        address = _address(changelist, {name: tab.parameters.get(name) for name in names})
        is_default = tab.is_default and not current and not changelist.query
        links.append(TabLink(tab.title, address, is_default or current == dict(tab.parameters)))
    return links


def chips(changelist: ChangeList) -> list[Chip]:
    """A chip for each filter in use, and for the search."""
    return list(_chips(changelist))


def _chips(changelist: ChangeList) -> Iterator[Chip]:
    if changelist.query:
        yield Chip("search", changelist.query, _address(changelist, {SEARCH_VAR: None}), is_private=True)
    for spec in changelist.filter_specs:
        names = [str(name) for name in spec.expected_parameters() if changelist.params.get(str(name), "")]
        if names:
            without = _address(changelist, dict.fromkeys(names))
            is_private = isinstance(spec, FieldFilter) and spec.is_private
            yield Chip(str(spec.title), _value_label(changelist, spec), without, is_private)


def _value_label(changelist: ChangeList, spec: Any) -> str:
    if isinstance(spec, FieldFilter):
        return spec.value_label()
    return ", ".join(str(choice["display"]) for choice in spec.choices(changelist) if choice["selected"])


def _address(changelist: ChangeList, changes: Mapping[str, str | None]) -> str:
    """The list with `changes` in its query string (None: without), from its newest row on."""
    return changelist.get_query_string({PAGE_VAR: None, BEFORE: None, **changes})
