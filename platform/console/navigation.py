"""The console's sidebar, to which the apps register their entries."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

from django.http import HttpRequest
from django.urls import reverse
from django.utils.html import format_html

# The groups, from top to bottom.
GROUPS: Final = ("Conversations", "Agents", "Users", "Costs", "Alerts", "Operations")


@dataclass(frozen=True, slots=True)
class Entry:
    """A list in the sidebar, or with `view` the page of that URL name. `model` is "app.model"; its view permission is
    needed to see the entry. `count` is the URL name of a JSON answer `{"count", "title"}`: the page asks for the number
    beside the entry.

    `position` orders the entries of a `group`, whichever app they come from.
    """

    group: str
    position: int
    title: str
    model: str
    icon: str
    view: str = ""
    count: str = ""

    @property
    def permission(self) -> str:
        app, model = self.model.split(".")
        return f"{app}.view_{model}"

    @property
    def address(self) -> str:
        return reverse(self.view or f"admin:{self.model.replace('.', '_')}_changelist")


@dataclass(frozen=True, slots=True)
class NavigationLink:
    """A page outside the console, shown at the top to users with `permission`."""

    title: str
    address: str
    icon: str
    permission: str


_entries: dict[tuple[str, str], Entry] = {}
_links: dict[str, NavigationLink] = {}


def register_entries(*entries: Entry) -> None:
    """Add lists and pages to the sidebar. Raises `ValueError` for an unknown group."""
    for entry in entries:
        if entry.group not in GROUPS:
            raise ValueError(f"The sidebar has no group {entry.group!r}.")
        _entries[entry.model, entry.view] = entry


def register_link(link: NavigationLink) -> None:
    """Add a link to the sidebar's head."""
    _links[link.address] = link


def entries_by_group() -> dict[str, list[Entry]]:
    """All entries by group, in the order of the sidebar."""
    ordered = sorted(_entries.values(), key=lambda entry: entry.position)
    return {group: [entry for entry in ordered if entry.group == group] for group in GROUPS}


def list_title(app_label: str, model_name: str) -> str | None:
    """The title of the list of this model in the sidebar, or None if it has none."""
    entry = _entries.get((f"{app_label}.{model_name}", ""))
    return None if entry is None else entry.title


def sidebar(request: HttpRequest) -> list[dict[str, Any]]:
    """The groups and entries that the user may see, in the format of unfold's templates."""
    first = [_item(request, "Overview", reverse("admin:index"), "space_dashboard")]
    allowed_links = [link for link in _links.values() if request.user.has_perm(link.permission)]
    first += [_item(request, link.title, link.address, link.icon) for link in allowed_links]
    first.append(_item(request, "Guide", reverse("admin:guide"), "help"))
    first.append(_item(request, "Runbooks", reverse("admin:runbooks"), "list_alt"))
    groups: list[dict[str, Any]] = [{"title": "", "items": first}]
    for title, entries in entries_by_group().items():
        allowed = [entry for entry in entries if request.user.has_perm(entry.permission)]
        if allowed:
            items = [_item(request, entry.title, entry.address, entry.icon) | _badge(entry) for entry in allowed]
            groups.append({"title": title, "items": items})
    return groups


def _item(request: HttpRequest, title: str, address: str, icon: str) -> dict[str, Any]:
    exact = address in {"/", reverse("admin:index")}  # prefixes of every other URL
    active = request.path == address if exact else request.path.startswith(address)
    return {"title": title, "link": address, "icon": icon, "active": active, "has_permission": True}


def _badge(entry: Entry) -> dict[str, Any]:
    """The place of the entry's number: filled by the page, so that no page waits for it."""
    if not entry.count:
        return {}
    badge = format_html('<span class="bs-nav-count" data-count="{}"></span>', reverse(entry.count))
    return {"badge": badge, "badge_variant": "warning"}
