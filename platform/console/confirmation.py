"""Confirmation pages: what an action will do to which rows, and one button that runs it."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, Final

from django import forms
from django.contrib.admin import ModelAdmin
from django.contrib.admin.helpers import ACTION_CHECKBOX_NAME
from django.http import HttpRequest, QueryDict
from django.template.response import TemplateResponse

_YES: Final = "confirm"
# The POST fields of Django's changelist that select the action and its rows.
_HIDDEN_FIELDS: Final = ("action", "select_across", "index", ACTION_CHECKBOX_NAME)
# Further rows are counted, not listed.
SHOWN_ROWS: Final = 20


def confirmed_data(request: HttpRequest) -> QueryDict | None:
    """The POST data if the button of the confirmation page was pressed, else None."""
    return request.POST if request.method == "POST" and _YES in request.POST else None


def confirmation_page(
    request: HttpRequest,
    model_admin: ModelAdmin[Any],
    *,
    title: str,
    message: str,
    yes: str,
    back: str,
    rows: Sequence[object] = (),
    rows_more: int | None = None,
    facts: Sequence[tuple[str, str]] = (),
    form: forms.Form | None = None,
    danger: bool = False,
    template: str = "console/confirm.html",
    extra_context: dict[str, Any] | None = None,
) -> TemplateResponse | None:
    """The page to show; None if its button was pressed and `form`, built with `confirmed_data(request)`, is valid.

    For buttons of one row (GET shows, POST acts) and for actions of a list alike. `message` says what will happen to
    `rows`, of which the first are listed and the others counted (`rows_more`, where `rows` are not all); `facts` are
    (name, value) about all of them. `yes` is the label of the button; `danger` makes it red. `back` is the address that
    "Go back" leads to.
    """
    if confirmed_data(request) is not None and (form is None or form.is_valid()):
        return None
    context = {
        **model_admin.admin_site.each_context(request),
        "title": title,
        "message": message,
        "rows": rows[:SHOWN_ROWS],
        "rows_more": max(0, len(rows) - SHOWN_ROWS) if rows_more is None else rows_more,
        "facts": facts,
        "yes": yes,
        "back": back,
        "form": form,
        "danger": danger,
        "confirm_name": _YES,
        "hidden_values": list(_hidden_values(request)),
        **(extra_context or {}),
    }
    return TemplateResponse(request, template, context)


def _hidden_values(request: HttpRequest) -> Iterable[tuple[str, str]]:
    for name in _HIDDEN_FIELDS:
        for value in request.POST.getlist(name):
            yield name, str(value)
