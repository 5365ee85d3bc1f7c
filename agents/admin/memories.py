"""What agents remember: the list, the page of one memory, and what operators do with them.

The pages stand here and not beside the rows, because who may read a memory depends on the groups of its agent.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence, Set
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from django.contrib import admin, messages
from django.db.models import Q, QuerySet
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.urls import reverse
from django.utils.html import format_html, format_html_join
from django.utils.safestring import SafeString

from accounts.actor import Actor
from accounts.models import User
from accounts.permissions import user_actor
from agents.admin.transcript.content import MAX_TEXT_CHARACTERS
from agents.admin.transcript.steps import shorten
from agents.models import Agent
from agents.permissions.transcripts import readable_agents
from console.confirmation import confirmation_page
from console.date_filters import AgeFilter, SinceFilter, UntilFilter
from console.field_filters import ChoiceFilter, TextFilter, require_choice
from console.formatting import NOTHING, badge, format_moment, format_second
from console.keyset_changelist import KeysetAdmin
from console.list_head import ListTab
from console.views import row_url
from console.widgets import action
from foundation.clock import now
from foundation.errors import BandstandError
from memory.enums import MemoryScope, MemorySource, Tier, Trust
from memory.models import Memory, MemoryBody, MemoryDerivation
from memory.role_permissions import READ_MEMORY_TEXT, REVIEW_MEMORY
from memory.writing import (
    PurgeFilter,
    confirm_memory,
    forget_memory,
    merge_memories,
    purge_memories,
    quarantine_memory,
    reject_memory,
)

HIDDEN = "(only for those who may read memories and the transcripts of this agent)"
_TRUST_LEVELS = {Trust.REJECTED: "bad", Trust.QUARANTINED: "warn", Trust.CONFIRMED: "good"}
_LIST_CHARACTERS = 120
# Related memories on the page of one.
_MAX_RELATED = 20
_MAX_COUNT = 100_000


@dataclass(frozen=True, slots=True)
class Review:
    """What reviewers do with memories. `run` raises `BandstandError`."""

    label: str
    message: str
    run: Callable[[Actor, UUID], object]
    danger: bool = False


CONFIRM = Review("Confirm", "They are recalled, and take the place of what their slots hold now.", confirm_memory)
QUARANTINE = Review(
    "Quarantine", "Nobody recalls them, nor what was made of them, until somebody confirms them.", quarantine_memory
)
REJECT = Review(
    "Reject",
    "They are wrong: nobody recalls them, nor what was made of them, and they are not stored again when the same is "
    "said. What they had superseded holds again.",
    reject_memory,
)
ERASE = Review(
    "Erase",
    "They go with their texts, their older values and what was made of them. It cannot be undone.",
    forget_memory,
    danger=True,
)


class ScopeFilter(ChoiceFilter):
    """By whose it is."""

    title, parameter_name, column = "scope", "scope", "owner__scope"
    values = tuple(scope.value for scope in MemoryScope)


class TierFilter(ChoiceFilter):
    """By what kind of memory it is."""

    title, parameter_name, column = "kind", "tier", "tier"
    values = (Tier.LONG_TERM.value, Tier.EPISODIC.value)


class SourceFilter(ChoiceFilter):
    """By where it comes from."""

    title, parameter_name, column = "source", "source", "body__source"
    values = tuple(source.value for source in MemorySource)


class TrustFilter(ChoiceFilter):
    """By how far it is believed."""

    title, parameter_name = "trust", "trust"
    values = tuple(trust.name.lower() for trust in Trust)

    def matching(self, value: str) -> Q:
        return Q(trust=Trust[require_choice(value, self.values).upper()].value)


class OwnerFilter(TextFilter):
    """By the exact name of the user whom it is about."""

    title = "user"
    parameter_name = "user"

    def matching(self, value: str) -> Q:
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


def _is_readable(memory: Memory, agents: Set[UUID] | None) -> bool:
    """Whether somebody may read the text who may read the transcripts of `agents`; None: no memory's."""
    return agents is not None and {memory.owner.agent, memory.body.agent} - {None} <= agents


@admin.register(Memory)
class MemoryAdmin(KeysetAdmin):
    """Memories, with what reviewers do: confirm, quarantine, reject, erase."""

    query_budget = 12

    list_display = ("created", "display_text", "display_status", "whose", "kind", "source", "hits")
    list_display_links = ("created", "display_text")
    list_select_related = ("body", "owner", "owner__user", "owner__pool", "embedding_model")
    list_filter = (
        OwnerFilter, ScopeFilter, TierFilter, SourceFilter, TrustFilter, AgeFilter, SinceFilter, UntilFilter,
    )  # fmt: skip
    list_tabs = (ListTab("All", {}), ListTab("To review", {"trust": "quarantined"}))
    search_ids = ("id", "body__session", "body__turn", "owner__agent")
    search_words = ("body__origin",)
    search_help_text = "The id of a memory, a session, a turn or an agent, or the source that a tool named."
    fields = (
        "full_text", "display_status", "whose", "kind", "source", "origin", "provenance", "actor", "display_slot",
        "display_trust", "occurred", "validity", "expires_at", "importance", "hits", "last_hit_at", "history",
        "origins", "derived", "situations", "vector", "id",
    )  # fmt: skip
    actions = ("confirm", "quarantine", "reject", "merge", "erase")
    actions_detail = ("confirm_one", "quarantine_one", "reject_one", "erase_one", "purge_source")

    def get_queryset(self, request: HttpRequest) -> QuerySet[Any]:
        rows: QuerySet[Any] = super().get_queryset(request).defer("words", "context_words", "embedding")
        return rows

    def complete(self, request: HttpRequest, rows: Sequence[Memory]) -> None:
        names = dict(Agent.objects.values_list("pk", "name"))
        readable = set(readable_agents(request.user).values_list("pk", flat=True))
        agents = readable if request.user.has_perm(READ_MEMORY_TEXT) else None
        for memory in rows:
            row: Any = memory
            row.readable_agents = agents
            row.readable = _is_readable(memory, agents)
            row.agent_name = names.get(memory.owner.agent) if memory.owner.agent is not None else None

    def get_object(self, request: HttpRequest, object_id: str, from_field: str | None = None) -> Any:
        memory = super().get_object(request, object_id, from_field)
        if memory is not None:
            self.complete(request, [memory])
        return memory

    @admin.display(description="stored (UTC)")
    def created(self, memory: Memory) -> SafeString | str:
        return format_moment(memory.created_at)

    @admin.display(description="memory")
    def display_text(self, memory: Any) -> str:
        return shorten(memory.body.text, _LIST_CHARACTERS) if memory.readable else HIDDEN

    @admin.display(description="text")
    def full_text(self, memory: Any) -> str:
        return shorten(memory.body.text, MAX_TEXT_CHARACTERS) if memory.readable else HIDDEN

    @admin.display(description="state")
    def display_status(self, memory: Memory) -> SafeString:
        return badge(*memory_status(memory))

    @admin.display(description="whose")
    def whose(self, memory: Any) -> str:
        owner = memory.owner
        parts = [owner.scope if owner.pool is None else f"pool {owner.pool.name}"]
        if owner.user is not None:
            parts.append(owner.user.get_username())
        if owner.agent is not None:
            parts.append(memory.agent_name or f"agent {owner.agent}")
        return ", ".join(parts)

    @admin.display(description="kind")
    def kind(self, memory: Memory) -> str:
        return "fact" if memory.tier == Tier.LONG_TERM else "said"

    @admin.display(description="source")
    def source(self, memory: Memory) -> str:
        return memory.body.source

    @admin.display(description="source, as a tool names it")
    def origin(self, memory: Any) -> str:
        return (memory.body.origin or NOTHING) if memory.readable else HIDDEN

    @admin.display(description="slot, the name of the fact")
    def display_slot(self, memory: Any) -> str:
        return (memory.slot or NOTHING) if memory.readable else HIDDEN

    @admin.display(description="trust")
    def display_trust(self, memory: Memory) -> SafeString:
        trust = Trust(memory.trust)
        return badge(trust.name.lower(), _TRUST_LEVELS.get(trust, ""))

    @admin.display(description="said (UTC)")
    def occurred(self, memory: Memory) -> SafeString | str:
        return format_moment(memory.occurred_at)

    @admin.display(description="holds")
    def validity(self, memory: Memory) -> SafeString:
        until = NOTHING if memory.valid_until is None else format_moment(memory.valid_until)
        return format_html("from {} until {}", format_moment(memory.valid_from), until)

    @admin.display(description="comes from")
    def provenance(self, memory: Memory) -> SafeString | str:
        """Links to the session and the turn, which may be gone."""
        body = memory.body
        links = [
            (reverse(f"admin:agents_{model}_change", args=[pk]), f"{label} {pk}")
            for model, label, pk in (("agentsession", "session", body.session), ("turn", "turn", body.turn))
            if pk is not None
        ]
        return format_html_join(", ", '<a href="{}">{}</a>', links) or NOTHING

    @admin.display(description="what held before, and holds after it")
    def history(self, memory: Any) -> SafeString | str:
        related = Q(superseded_by=memory.pk)
        if memory.superseded_by_id is not None:
            related |= Q(pk=memory.superseded_by_id)
        return self._links(memory, Memory.objects.filter(related))

    @admin.display(description="made of")
    def origins(self, memory: Any) -> SafeString | str:
        origins = MemoryDerivation.objects.filter(memory=memory).values("origin")
        return self._links(memory, Memory.objects.filter(pk__in=origins))

    @admin.display(description="made from it")
    def derived(self, memory: Any) -> SafeString | str:
        derived = MemoryDerivation.objects.filter(origin=memory).values("memory")
        return self._links(memory, Memory.objects.filter(pk__in=derived))

    @admin.display(description="recalled also for")
    def situations(self, memory: Any) -> SafeString | str:
        if not memory.readable:
            return HIDDEN
        texts = [(key.text,) for key in memory.keys.order_by("pk")[:_MAX_RELATED]]
        return format_html_join("", "<div>{}</div>", texts) or NOTHING

    @admin.display(description="vector")
    def vector(self, memory: Memory) -> str:
        return NOTHING if memory.embedding_model is None else f"by {memory.embedding_model}"

    def _links(self, memory: Any, rows: QuerySet[Memory]) -> SafeString | str:
        """Related memories. In a pool they may come from agents whose transcripts are closed to the reader."""
        related = rows.select_related("body", "owner").defer("words", "context_words", "embedding").order_by("-pk")
        agents = memory.readable_agents
        texts = [
            (row_url(row), shorten(row.body.text, _LIST_CHARACTERS) if _is_readable(row, agents) else str(row.pk))
            for row in related[:_MAX_RELATED]
        ]
        return format_html_join("", '<div><a href="{}">{}</a></div>', texts) or NOTHING

    def has_review_permission(self, request: HttpRequest, object_id: Any = None) -> bool:  # noqa: ARG002
        return request.user.has_perm(REVIEW_MEMORY)

    @admin.action(description="Confirm selected memories", permissions=["review"])
    def confirm(self, request: HttpRequest, queryset: QuerySet[Memory]) -> HttpResponse:
        return self._review(request, queryset, CONFIRM)

    @admin.action(description="Quarantine selected memories", permissions=["review"])
    def quarantine(self, request: HttpRequest, queryset: QuerySet[Memory]) -> HttpResponse:
        return self._review(request, queryset, QUARANTINE)

    @admin.action(description="Reject selected memories", permissions=["review"])
    def reject(self, request: HttpRequest, queryset: QuerySet[Memory]) -> HttpResponse:
        return self._review(request, queryset, REJECT)

    @admin.action(description="Erase selected memories", permissions=["review"])
    def erase(self, request: HttpRequest, queryset: QuerySet[Memory]) -> HttpResponse:
        return self._review(request, queryset, ERASE)

    @admin.action(description="Merge selected memories into the newest", permissions=["review"])
    def merge(self, request: HttpRequest, queryset: QuerySet[Memory]) -> HttpResponse:
        """The newest of the selected ones then stands for all of them."""
        rows = self._selected(request, queryset)
        back = reverse("admin:memory_memory_changelist")
        confirmation = confirmation_page(
            request,
            self,
            title="Merge memories",
            message="The newest of them stands for all from now on; the others stay as its history.",
            rows=[self.describe(row) for row in rows],
            yes="Merge",
            back=back,
        )
        if confirmation is not None:
            return confirmation
        try:
            merge_memories(user_actor(request.user), [row.pk for row in rows], into=rows[0].pk)
        except BandstandError as error:
            messages.error(request, error.detail)
        else:
            messages.success(request, f"Merged: {len(rows)}.")
        return HttpResponseRedirect(back)

    @action(description="Confirm", permissions=["review"], url_path="confirm", icon="check_circle")
    def confirm_one(self, request: HttpRequest, object_id: str) -> HttpResponse:
        return self._review_one(request, object_id, CONFIRM)

    @action(description="Quarantine", permissions=["review"], url_path="quarantine", icon="pause_circle")
    def quarantine_one(self, request: HttpRequest, object_id: str) -> HttpResponse:
        return self._review_one(request, object_id, QUARANTINE)

    @action(description="Reject", permissions=["review"], url_path="reject", icon="block")
    def reject_one(self, request: HttpRequest, object_id: str) -> HttpResponse:
        return self._review_one(request, object_id, REJECT)

    @action(description="Erase", permissions=["review"], url_path="erase", icon="delete")
    def erase_one(self, request: HttpRequest, object_id: str) -> HttpResponse:
        return self._review_one(request, object_id, ERASE)

    @action(description="Purge its source", permissions=["review"], url_path="purge", icon="delete_sweep")
    def purge_source(self, request: HttpRequest, object_id: str) -> HttpResponse:
        """Erase everything from where this memory comes from: the named origin, else its conversation."""
        memory = self.get_object(request, object_id)
        if memory is None:
            return self.redirect_missing(request, object_id)
        body = memory.body
        if body.origin:
            name = body.origin if memory.readable else "that is named there"
            which, label = PurgeFilter(origin=body.origin), f"of the source {name}, for all users"
        elif body.session is not None:
            which, label = PurgeFilter(session=body.session), f"from the session {body.session}"
        else:
            messages.error(request, "It names no source: erase it by itself.")
            return HttpResponseRedirect(row_url(memory))
        count = MemoryBody.objects.filter(**which.conditions())[:_MAX_COUNT].count()
        confirmation = confirmation_page(
            request,
            self,
            title="Purge a source",
            message=f"All {count:,} memories {label} are erased, with what was made of them. It cannot be undone.",
            yes="Purge",
            back=row_url(memory),
            danger=True,
        )
        if confirmation is not None:
            return confirmation
        try:
            gone = purge_memories(user_actor(request.user), which)
        except BandstandError as error:
            messages.error(request, error.detail)
        else:
            more = " More are left: purge again." if MemoryBody.objects.filter(**which.conditions()).exists() else ""
            messages.success(request, f"Erased: {gone:,}.{more}")
        return HttpResponseRedirect(reverse("admin:memory_memory_changelist"))

    def _review_one(self, request: HttpRequest, object_id: str, review: Review) -> HttpResponse:
        memory = self.get_object(request, object_id)
        if memory is None:
            return self.redirect_missing(request, object_id)
        return self._review(request, Memory.objects.filter(pk=memory.pk), review, back=row_url(memory))

    def _review(
        self, request: HttpRequest, queryset: QuerySet[Memory], review: Review, *, back: str | None = None
    ) -> HttpResponse:
        rows = self._selected(request, queryset)
        listed = reverse("admin:memory_memory_changelist")
        confirmation = confirmation_page(
            request,
            self,
            title=f"{review.label}?",
            message=review.message,
            rows=[self.describe(row) for row in rows],
            yes=review.label,
            back=back or listed,
            danger=review.danger,
        )
        if confirmation is not None:
            return confirmation
        done = 0
        for row in rows:
            try:
                review.run(user_actor(request.user), row.pk)
                done += 1
            except BandstandError as error:
                messages.error(request, f"{row.pk}: {error.detail}")
        messages.success(request, f"{review.label}: {done}.")
        return HttpResponseRedirect(back if back and review is not ERASE else listed)

    def describe(self, memory: Any) -> str:
        """A memory in words, for pages that ask: since when, whose, and the text if it may be read."""
        since = f"{format_second(memory.created_at)[:16]} UTC"
        return f"{since}: {self.whose(memory)}: {self.display_text(memory)}"

    def _selected(self, request: HttpRequest, queryset: QuerySet[Memory]) -> list[Memory]:
        """The selected rows, newest first; no more than a page of them."""
        rows = queryset.select_related(*self.list_select_related).defer("words", "context_words", "embedding")
        selected = list(rows.order_by("-pk")[: self.list_per_page])
        self.complete(request, selected)
        return selected
