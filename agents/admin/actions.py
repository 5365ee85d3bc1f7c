"""Acts of operators on one row or on a hundred thousand: asked for once, told honestly.

What fits on a page of a list is done at once. What is more becomes a `BulkAction`: the rows that match at the moment of
the answer, worked on by the scheduler, with a page that shows how far it is and a button that stops it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

from django.contrib import messages
from django.contrib.admin import ModelAdmin
from django.db.models import Q, QuerySet
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.utils.http import url_has_allowed_host_and_scheme

from accounts.permissions import user_actor
from agents.sessions.bulk_actions import MOST, Tally, perform, run_bulk_action, schedule_bulk_actions, start_bulk_action
from console.confirmation import confirmation_page, confirmed_data
from console.keyset_changelist import custom_plan, parse_uuid
from console.views import row_url
from foundation.errors import BandstandError
from foundation.ids import new_id

# As many as a list shows.
AT_ONCE: Final = 50
# A request of the web's may take ten seconds; these leave room for the last row and the page.
AT_ONCE_SECONDS: Final = 4.0
FIRST_BITE_SECONDS: Final = 2.0
# Beyond this "more than" is enough to decide.
COUNTED: Final = 100_000


@dataclass(frozen=True, slots=True)
class OperatorAction:
    """One of `agents.sessions.bulk_actions.BULK_OPERATIONS` in the words of operators.

    `applies` is what its rows must be; the verb judges again, under the lock.
    """

    act: str
    yes: str
    done: str
    words: str
    applies: Q
    danger: bool = False


def run_action(
    request: HttpRequest, model_admin: ModelAdmin[Any], queryset: QuerySet[Any], deed: OperatorAction
) -> HttpResponse:
    """Ask, then do; for the actions of a list and for the buttons of a page, which post to the list with `back`."""
    rows = queryset.filter(deed.applies).order_by("-pk")
    before = parse_uuid(request.POST.get("before", ""))
    if confirmed_data(request) is None or before is None:
        return _question(request, model_admin, rows, deed)
    with custom_plan():
        # What came after the question is nobody's business.
        keys = list(rows.filter(pk__lt=before).values_list("pk", flat=True)[:MOST])
    try:
        if len(keys) > AT_ONCE:
            return _begin(request, deed, keys)
        tally = perform(user_actor(request.user), deed.act, keys, seconds=AT_ONCE_SECONDS)
    except BandstandError as error:
        messages.error(request, error.detail)
        return HttpResponseRedirect(_back(request))
    _tell(request, deed, tally, left=len(keys) - tally.rows)
    return HttpResponseRedirect(_back(request))


def _question(
    request: HttpRequest, model_admin: ModelAdmin[Any], rows: QuerySet[Any], deed: OperatorAction
) -> HttpResponse:
    back = _back(request)
    with custom_plan():
        count = rows[: COUNTED + 1].count()
    if not count:
        messages.warning(request, "Nothing to do: " + deed.words.partition("\n")[0])
        return HttpResponseRedirect(back)
    page = confirmation_page(
        request,
        model_admin,
        title=f"{deed.yes}?",
        message=f"{_many(count, model_admin)}\n\n{deed.words}",
        rows=list(rows[:21]) if count <= 20 else (),
        yes=f"Yes, {deed.yes[0].lower()}{deed.yes[1:]}",
        back=back,
        danger=deed.danger,
        template="console/deed.html",
        extra_context={"going": {"before": new_id(), "back": back}},
    )
    # Confirmed, but by no page of ours.
    return page if page is not None else HttpResponseRedirect(back)


def _many(count: int, model_admin: ModelAdmin[Any]) -> str:
    names = model_admin.model._meta
    if count > COUNTED:
        words = f"This is about more than {COUNTED:,} {names.verbose_name_plural}."
    else:
        words = f"This is about {count:,} {names.verbose_name if count == 1 else names.verbose_name_plural}."
    if count <= AT_ONCE:
        return words
    return f"{words} They are done one after the other, which takes a while; you may watch, stop it, or go away."


def _back(request: HttpRequest) -> str:
    wanted = request.POST.get("back", "")
    own = url_has_allowed_host_and_scheme(wanted, allowed_hosts=None, require_https=request.is_secure())
    return wanted if own and wanted.startswith("/") else request.get_full_path()


def _begin(request: HttpRequest, deed: OperatorAction, keys: list[Any]) -> HttpResponse:
    bulk = start_bulk_action(user_actor(request.user), act=deed.act, targets=keys)
    if len(keys) == MOST:
        messages.warning(request, f"One act takes {MOST:,} rows at most: these are the newest. Repeat it for the rest.")
    # So that there is something to see at once; the scheduler goes on from there.
    run_bulk_action(bulk.pk, seconds=FIRST_BITE_SECONDS)
    schedule_bulk_actions()
    return HttpResponseRedirect(row_url(bulk))


def _tell(request: HttpRequest, deed: OperatorAction, tally: Tally, *, left: int) -> None:
    if tally.done:
        messages.success(request, f"{deed.done}: {tally.done:,}.")
    if tally.refused:
        why = " ".join(reason for reason, _ in tally.reasons.most_common(3))
        messages.warning(request, f"Left as they were: {tally.refused:,}. {why}".strip())
    if tally.ended_by is not None:
        messages.error(request, tally.ended_by.detail)
    elif left:
        messages.warning(request, f"Not reached, because it took too long: {left:,}. Try them again.")
    elif not tally.rows:
        messages.info(request, "Nothing was left to do.")
