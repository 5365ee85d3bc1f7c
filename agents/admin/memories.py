"""What agents remember: the list, the page of one memory, and what operators do with them.

The pages stand here and not beside the rows, because who may read a memory depends on the groups of its agent.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from django.contrib import admin, messages
from django.contrib.admin.options import IncorrectLookupParameters
from django.db.models import Q, QuerySet
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.urls import reverse
from django.utils.html import format_html, format_html_join
from django.utils.safestring import SafeString

from accounts.models import User
from accounts.permissions import user_actor
from agents.admin.list_filters import IndexedFilter
from agents.admin.transcript.content import MAX_TEXT_CHARACTERS
from agents.admin.transcript.steps import shorten
from agents.models import Agent
from agents.permissions.transcripts import readable_agents
from console.confirmation import confirmation_page
from console.date_filters import AgeFilter
from console.formatting import NOTHING, badge, format_moment
from console.keyset_changelist import KeysetAdmin
from console.views import row_url
from console.widgets import action
from foundation.clock import now
from foundation.errors import BandstandError
from memory.enums import MemoryScope, MemorySource, Tier, Trust
from memory.models import Memory, MemoryDerivation

_HIDDEN = "(only for those who may read the transcripts of this agent)"
_TRUST_LEVELS = {Trust.REJECTED: "bad", Trust.QUARANTINED: "warn", Trust.CONFIRMED: "good"}
_LIST_CHARACTERS = 120
# Related memories on the page of one.
_MAX_RELATED = 20


class _ChoiceFilter(IndexedFilter):
    """A filter by one of a closed list of values of one column."""

    column: str
    values: tuple[str, ...]

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:  # noqa: ARG002
        return [(value, value.replace("_", " ")) for value in self.values]

    def condition(self, value: str, *, of_turns: bool) -> Q:  # noqa: ARG002
        if value not in self.values:
            raise IncorrectLookupParameters(value)
        return Q(**{self.column: value})


class ScopeFilter(_ChoiceFilter):
    """By whose it is."""

    title, parameter_name, column = "scope", "scope", "owner__scope"
    values = tuple(scope.value for scope in MemoryScope)


class TierFilter(_ChoiceFilter):
    """By what kind of memory it is."""

    title, parameter_name, column = "kind", "tier", "tier"
    values = (Tier.LONG_TERM.value, Tier.EPISODIC.value)


class SourceFilter(_ChoiceFilter):
    """By where it comes from."""

    title, parameter_name, column = "source", "source", "body__source"
    values = tuple(source.value for source in MemorySource)


class TrustFilter(_ChoiceFilter):
    """By how far it is believed."""

    title, parameter_name = "trust", "trust"
    values = tuple(trust.name.lower() for trust in Trust)

    def condition(self, value: str, *, of_turns: bool) -> Q:
        super().condition(value, of_turns=of_turns)
        return Q(trust=Trust[value.upper()].value)


class OwnerFilter(IndexedFilter):
    """By the exact name of the user whom it is about."""

    title = "user"
    parameter_name = "user"

    def field(self) -> Any:
        from agents.admin.list_filters import UserFilter

        return UserFilter.field(self)  # type: ignore[arg-type]

    def condition(self, value: str, *, of_turns: bool) -> Q:  # noqa: ARG002
        user = User.objects.filter(username=value).values_list("pk", flat=True).first()
        return Q(pk__in=[]) if user is None else Q(owner__user=user)


def memory_status(memory: Memory) -> tuple[str, str]:
    """Whether it is recalled, as a word and the level of its badge."""
    if memory.superseded_by_id is not None:
        return "superseded", ""
    if memory.valid_until is not None and memory.valid_until <= now():
        return "ended", ""
    if memory.expires_at is not None and memory.expires_at <= now():
        return "expired", ""
    if memory.trust < Trust.DEFAULT:
        return Trust(memory.trust).name.lower(), _TRUST_LEVELS[Trust(memory.trust)]
    return "current", "good"


@admin.register(Memory)
class MemoryAdmin(KeysetAdmin):
    """Memories, with what reviewers do: confirm, quarantine, reject, erase."""

    query_budget = 10

    list_display = ("created", "display_text", "display_status", "whose", "kind", "source", "hits")
    list_display_links = ("created", "display_text")
    list_select_related = ("body", "owner", "owner__user", "owner__pool")
    list_filter = (OwnerFilter, ScopeFilter, TierFilter, SourceFilter, TrustFilter, AgeFilter)
    search_ids = ("id", "body__session", "body__turn", "owner__agent")
    search_words = ("body__origin",)
    search_help_text = "The id of a memory, a session, a turn or an agent, or the source that a tool named."
    fields = (
        "full_text", "display_status", "whose", "kind", "source", "origin", "actor", "slot", "display_trust",
        "occurred", "held", "expires_at", "importance", "hits", "last_hit_at", "history", "made_of", "made_from_it",
        "keys_of_it", "embedding_model", "id",
    )  # fmt: skip
    actions = ("confirm", "quarantine", "reject", "erase")
    actions_detail = ("confirm_one", "quarantine_one", "reject_one", "erase_one", "purge_source")

    def get_queryset(self, request: HttpRequest) -> QuerySet[Any]:
        rows: QuerySet[Any] = super().get_queryset(request).defer("words", "context_words", "embedding")
        return rows

    def complete(self, request: HttpRequest, rows: Sequence[Memory]) -> None:
        names = dict(Agent.objects.values_list("pk", "name"))
        readable = set(readable_agents(request.user).values_list("pk", flat=True))
        for row in rows:
            _annotate(row, names, readable)

    def get_object(self, request: HttpRequest, object_id: str, from_field: str | None = None) -> Any:
        memory = super().get_object(request, object_id, from_field)
        if memory is not None:
            self.complete(request, [memory])
        return memory
