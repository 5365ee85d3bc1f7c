"""Operator actions with a confirmation page, on one row or on a hundred thousand.

Up to `IMMEDIATE_ROWS` rows are processed within the request. More become a `BulkAction`: the rows that match when the
operator confirms, processed by the scheduler, with a page that shows its progress and a button that stops it.
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
from agents.admin.action_details import describe_rows, row_facts
from agents.sessions.bulk_actions import (
    MAX_ROWS,
    Tally,
    run_bulk_action,
    run_operation,
    schedule_bulk_actions,
    start_bulk_action,
)
from console.confirmation import confirmation_page, confirmed_data
from console.keyset_changelist import custom_plan, parse_uuid
from console.views import row_url
from foundation.errors import BandstandError
from foundation.ids import new_id

# One page of a list.
IMMEDIATE_ROWS: Final = 50
# A web request may take ten seconds; these limits leave time for the last row and for rendering the page.
IMMEDIATE_SECONDS: Final = 4.0
FIRST_RUN_SECONDS: Final = 2.0
# Beyond this the confirmation page says "more than": counting on would only make it slow.
MAX_COUNT: Final = 100_000


@dataclass(frozen=True, slots=True)
class OperatorAction:
    """How the console presents one of `agents.sessions.bulk_actions.BULK_OPERATIONS`.

    `applies_to` selects the rows that it can be done to; the operation checks each row again, under its lock. `costs`:
    it asks models, so the confirmation says what may come.
    """

    operation: str
    label: str
    done_label: str
    description: str
    applies_to: Q
    danger: bool = False
    costs: bool = False


def run_action(
    request: HttpRequest, model_admin: ModelAdmin[Any], queryset: QuerySet[Any], action: OperatorAction
) -> HttpResponse:
    """The confirmation page; once confirmed, the redirect back or to the page of the bulk action.

    Serves the actions of a list and the buttons of a page, which post to the list with `back`.
    """
    rows = queryset.filter(action.applies_to).order_by("-pk")
    created_before = parse_uuid(request.POST.get("before", ""))
    if confirmed_data(request) is None or created_before is None:
        return _confirmation(request, model_admin, rows, action)
    with custom_plan():
        # Rows created after the confirmation page was shown were not part of the question.
        keys = list(rows.filter(pk__lt=created_before).values_list("pk", flat=True)[:MAX_ROWS])
    try:
        if len(keys) > IMMEDIATE_ROWS:
            return _start_bulk_action(request, action, keys)
        tally = run_operation(user_actor(request.user), action.operation, keys, seconds=IMMEDIATE_SECONDS)
    except BandstandError as error:
        messages.error(request, error.detail)
        return HttpResponseRedirect(_back(request))
    _report_result(request, action, tally, remaining=len(keys) - tally.rows)
    return HttpResponseRedirect(_back(request))


def _confirmation(
    request: HttpRequest, model_admin: ModelAdmin[Any], rows: QuerySet[Any], action: OperatorAction
) -> HttpResponse:
    back = _back(request)
    with custom_plan():
        count = rows[: MAX_COUNT + 1].count()
    if not count:
        messages.warning(request, "Nothing to do: " + action.description.partition("\n")[0])
        return HttpResponseRedirect(back)
    with custom_plan():
        descriptions = describe_rows(request.user, rows)
        facts = row_facts(rows, with_cost=action.costs)
    page = confirmation_page(
        request,
        model_admin,
        title=f"{action.label}?",
        message=f"{_count_text(count, model_admin)}\n\n{action.description}",
        rows=descriptions,
        rows_more=count - len(descriptions),
        facts=facts,
        yes=f"Yes, {action.label[0].lower()}{action.label[1:]}",
        back=back,
        danger=action.danger,
        template="console/operator_action.html",
        extra_context={"hidden_fields": {"before": new_id(), "back": back}},
    )
    # A confirmation without `before`: not sent by this page.
    return page if page is not None else HttpResponseRedirect(back)


def _count_text(count: int, model_admin: ModelAdmin[Any]) -> str:
    names = model_admin.model._meta
    if count > MAX_COUNT:
        text = f"This is about more than {MAX_COUNT:,} {names.verbose_name_plural}."
    else:
        text = f"This is about {count:,} {names.verbose_name if count == 1 else names.verbose_name_plural}."
    if count <= IMMEDIATE_ROWS:
        return text
    return f"{text} They are done one after the other, which takes a while; you may watch, stop it, or go away."


def _back(request: HttpRequest) -> str:
    target = request.POST.get("back", "")
    is_local = url_has_allowed_host_and_scheme(target, allowed_hosts=None, require_https=request.is_secure())
    return target if is_local and target.startswith("/") else request.get_full_path()


def _start_bulk_action(request: HttpRequest, action: OperatorAction, keys: list[Any]) -> HttpResponse:
    bulk = start_bulk_action(user_actor(request.user), operation=action.operation, targets=keys)
    if len(keys) == MAX_ROWS:
        messages.warning(
            request, f"One bulk action takes {MAX_ROWS:,} rows at most: these are the newest. Repeat it for the rest."
        )
    # The page then shows some progress at once; the scheduler continues from there.
    run_bulk_action(bulk.pk, seconds=FIRST_RUN_SECONDS)
    schedule_bulk_actions()
    return HttpResponseRedirect(row_url(bulk))


def _report_result(request: HttpRequest, action: OperatorAction, tally: Tally, *, remaining: int) -> None:
    if tally.done:
        messages.success(request, f"{action.done_label}: {tally.done:,}.")
    if tally.refused:
        reasons = " ".join(reason for reason, _ in tally.reasons.most_common(3))
        messages.warning(request, f"Left as they were: {tally.refused:,}. {reasons}".strip())
    if tally.error is not None:
        messages.error(request, tally.error.detail)
    elif remaining:
        messages.warning(request, f"Not reached, because it took too long: {remaining:,}. Try them again.")
    elif not tally.rows:
        messages.info(request, "Nothing was left to do.")
