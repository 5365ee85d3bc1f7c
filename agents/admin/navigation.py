"""The console's sidebar: what people come for, grouped by their jobs."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

from django.http import HttpRequest
from django.urls import reverse

from agents.access.roles import USE_CHAT


@dataclass(frozen=True, slots=True)
class Entry:
    """A list of the console. `model` is "app.model"; whoever may view it is shown the link."""

    title: str
    model: str
    icon: str

    @property
    def permission(self) -> str:
        app, model = self.model.split(".")
        return f"{app}.view_{model}"

    @property
    def address(self) -> str:
        return reverse(f"admin:{self.model.replace('.', '_')}_changelist")


GROUPS: Final[dict[str, tuple[Entry, ...]]] = {
    "Conversations": (
        Entry("Sessions", "agents.agentsession", "forum"),
        Entry("Turns", "agents.turn", "sync_alt"),
        Entry("Steps", "agents.step", "footprint"),
        Entry("Events", "agents.event", "list_alt"),
    ),
    "Agents": (
        Entry("Agents", "agents.agent", "smart_toy"),
        Entry("Releases", "agents.release", "new_releases"),
    ),
    "People": (
        Entry("People", "agents.user", "person"),
        Entry("Roles and groups", "auth.group", "group"),
        Entry("API keys", "agents.apikey", "key"),
        Entry("Mail", "agents.letter", "mail"),
    ),
    "Operations": (
        Entry("Runners", "agents.runner", "memory"),
        Entry("Schedules", "monitoring.schedule", "schedule"),
        Entry("Runs of schedules", "monitoring.jobrun", "checklist"),
        Entry("Bulk acts", "agents.bulkact", "playlist_add_check"),
        Entry("Audit trail", "agents.auditentry", "history"),
    ),
}


def sidebar(request: HttpRequest) -> list[dict[str, Any]]:
    """The groups and entries that this person may see, in the shape that the templates expect."""
    start = reverse("admin:index")
    first = [_item(request, "Overview", start, "space_dashboard")]
    if request.user.has_perm(USE_CHAT):
        first.append({"title": "Chat", "link": "/", "icon": "chat", "active": False, "has_permission": True})
    first.append(_item(request, "Guide", reverse("admin:guide"), "help"))
    groups: list[dict[str, Any]] = [{"title": "", "items": first}]
    for title, entries in GROUPS.items():
        allowed = [entry for entry in entries if request.user.has_perm(entry.permission)]
        if allowed:
            items = [_item(request, entry.title, entry.address, entry.icon) for entry in allowed]
            groups.append({"title": title, "items": items})
    return groups


def _item(request: HttpRequest, title: str, address: str, icon: str) -> dict[str, Any]:
    here = request.path == address if address == reverse("admin:index") else request.path.startswith(address)
    return {"title": title, "link": address, "icon": icon, "active": here, "has_permission": True}
