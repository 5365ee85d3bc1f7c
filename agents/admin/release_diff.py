"""The page that compares two configurations of an agent: its draft or any of its releases."""

from __future__ import annotations

from typing import Any, Final

from django import forms
from django.http import HttpRequest, HttpResponse

from agents.admin.stored_configurations import compare_stored
from agents.models import AgentDraft, Configuration, Release
from console.views import console_page
from console.widgets import Select

DRAFT: Final = "draft"
# The selects offer the newest releases; the query string may name any.
MAX_OFFERED: Final = 200


class ComparisonForm(forms.Form):
    """The two sides: each is `draft` or the number of a release."""

    old = forms.ChoiceField(label="From", widget=Select)
    new = forms.ChoiceField(label="To", widget=Select)


def compare_page(request: HttpRequest, model_admin: Any, draft: AgentDraft) -> HttpResponse:
    """The page with the differences; without a valid selection, from the live release to the draft."""
    agent, live = draft.agent, draft.agent.live_release
    numbers = list(
        Release.objects.filter(agent=agent).order_by("-number").values_list("number", flat=True)[:MAX_OFFERED]
    )
    form = ComparisonForm(request.GET if {"old", "new"} & set(request.GET) else None)
    selection = {"old": str(live.number) if live else DRAFT, "new": DRAFT}
    form.initial = selection
    for name in ("old", "new"):
        field: Any = form.fields[name]
        field.choices = [(DRAFT, "the draft"), *((str(number), _title(number, live)) for number in numbers)]
    if form.is_bound and form.is_valid():
        selection = form.cleaned_data
    comparison = compare_stored(_row(draft, selection["old"]), _row(draft, selection["new"]))
    return console_page(
        request,
        model_admin,
        "console/release_diff.html",
        title=f"{agent}: compare",
        agent=agent,
        form=form,
        differences=comparison.differences,
        unreadable=comparison.unreadable,
    )


def _title(number: int, live: Release | None) -> str:
    return f"release {number} (live)" if live and live.number == number else f"release {number}"


def _row(draft: AgentDraft, name: str) -> Configuration:
    return draft if name == DRAFT else Release.objects.get(agent=draft.agent, number=int(name))
