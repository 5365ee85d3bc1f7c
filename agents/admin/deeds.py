"""Acts of operators on one row or on a hundred thousand: asked for once, done in bites, told honestly.

A request works for a few seconds and then answers with what it has done so far; the page goes on by itself from the key
at which it stopped. No transaction is longer than one row's, so nobody has to wait, and closing the page stops it.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any, Final
from uuid import UUID

from django.contrib import messages
from django.contrib.admin import ModelAdmin
from django.db.models import Q, QuerySet
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.template.response import TemplateResponse
from django.utils.http import url_has_allowed_host_and_scheme

from agents.access.actor import Actor
from agents.access.permissions import actor_of
from agents.admin.confirm import ask
from agents.admin.long_list import planned_for_its_values, uuid_of
from foundation.errors import BandstandError
from foundation.ids import new_id

# A request of the web's may take ten seconds; this leaves room for the last row and the page.
BITE_SECONDS: Final = 4.0
FETCH: Final = 200
# Beyond this "more than" is enough to decide.
COUNTED: Final = 1_000


@dataclass(frozen=True, slots=True)
class Deed:
    """A verb as operators meet it. `applies` is what its rows must be; the verb judges again, under the lock."""

    yes: str
    done: str
    words: str
    applies: Q
    verb: Callable[[Actor, UUID], object]
    danger: bool = False


@dataclass(slots=True)
class Tally:
    """What has happened so far. `before`: rows with smaller keys are still to come."""

    before: UUID
    done: int = 0
    refused: int = 0
    reasons: Counter[str] = field(default_factory=Counter)
    ended: bool = False


def carry_out(request: HttpRequest, model_admin: ModelAdmin[Any], queryset: QuerySet[Any], deed: Deed) -> HttpResponse:
    """Ask, then do; for the actions of a list and for the buttons of a page, which post to the list with `back`."""
    rows = queryset.filter(deed.applies).order_by("-pk")
    back = _back(request)
    tally = _tally(request)
    if tally is None:
        with planned_for_its_values():
            count = rows[: COUNTED + 1].count()
        if not count:
            messages.warning(request, "Nothing to do: " + deed.words.partition("\n")[0])
            return HttpResponseRedirect(back)
        page = ask(
            request,
            model_admin,
            title=f"{deed.yes}?",
            words=f"{_many(count, model_admin)}\n\n{deed.words}",
            rows=list(rows[:21]) if count <= 20 else (),
            yes=f"Yes, {deed.yes[0].lower()}{deed.yes[1:]}",
            back=back,
            danger=deed.danger,
            template="agents/admin/deed.html",
            more={"going": {"before": new_id(), "done": 0, "refused": 0, "back": back}},
        )
        # Confirmed, but by no page of ours.
        return page if page is not None else HttpResponseRedirect(back)
    _bite(rows, deed, actor_of(request.user), tally)
    return _end(request, deed, tally, back) if tally.ended else _go_on(request, model_admin, deed, tally, back)


def _many(count: int, model_admin: ModelAdmin[Any]) -> str:
    names = model_admin.model._meta
    if count > COUNTED:
        return f"This is about more than {COUNTED:,} {names.verbose_name_plural}."
    return f"This is about {count:,} {names.verbose_name if count == 1 else names.verbose_name_plural}."


def _back(request: HttpRequest) -> str:
    wanted = request.POST.get("back", "")
    own = url_has_allowed_host_and_scheme(wanted, allowed_hosts=None, require_https=request.is_secure())
    return wanted if own and wanted.startswith("/") else request.get_full_path()


def _tally(request: HttpRequest) -> Tally | None:
    """What the page that somebody has confirmed, or that goes on, brings along."""
    before = uuid_of(request.POST.get("before", ""))
    if request.method != "POST" or "confirm" not in request.POST or before is None:
        return None
    done, refused = (_count(request.POST.get(name, "")) for name in ("done", "refused"))
    return Tally(before, done, refused)


def _count(text: str) -> int:
    return int(text) if text.isascii() and text.isdigit() and len(text) < 10 else 0


def _keys(rows: QuerySet[Any], before: UUID) -> Iterator[UUID]:
    while True:
        with planned_for_its_values():
            keys = list(rows.filter(pk__lt=before).values_list("pk", flat=True)[:FETCH])
        yield from keys
        if len(keys) < FETCH:
            return
        before = keys[-1]


def _bite(rows: QuerySet[Any], deed: Deed, actor: Actor, tally: Tally) -> None:
    ends_at = time.monotonic() + BITE_SECONDS
    for key in _keys(rows, tally.before):
        try:
            deed.verb(actor, key)
        except BandstandError as error:
            tally.refused += 1
            tally.reasons[error.detail] += 1
        else:
            tally.done += 1
        tally.before = key
        # After the row, so that every bite does one at least.
        if time.monotonic() >= ends_at:
            return
    tally.ended = True


def _go_on(request: HttpRequest, model_admin: ModelAdmin[Any], deed: Deed, tally: Tally, back: str) -> TemplateResponse:
    carried = [
        (name, str(value))
        for name in ("action", "select_across", "index", "_selected_action")
        for value in request.POST.getlist(name)
    ]
    context = {
        **model_admin.admin_site.each_context(request),
        "opts": model_admin.model._meta,
        "title": f"{deed.yes}: at work",
        "deed": deed,
        "tally": tally,
        "reasons": tally.reasons.most_common(3),
        "carried": carried,
        "back": back,
    }
    return TemplateResponse(request, "agents/admin/deed_going.html", context)


def _end(request: HttpRequest, deed: Deed, tally: Tally, back: str) -> HttpResponse:
    if tally.done:
        messages.success(request, f"{deed.done}: {tally.done:,}.")
    if tally.refused:
        why = " ".join(reason for reason, _ in tally.reasons.most_common(3))
        messages.warning(request, f"Left as they were: {tally.refused:,}. {why}".strip())
    if not tally.done and not tally.refused:
        messages.info(request, "Nothing was left to do.")
    return HttpResponseRedirect(back)
