"""Pools of memories: which agents share them, and whether each user has their own in it."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from django import forms
from django.contrib import admin, messages
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.urls import reverse

from accounts.admin.audited_forms import AuditedFormMixin
from accounts.permissions import user_actor
from agents.models import Agent
from console.admin import ConsoleAdmin
from console.confirmation import confirmation_page
from console.views import row_url
from console.widgets import CheckboxInput, CheckboxSelectMultiple, TextInput, action
from foundation.errors import BandstandError
from memory.models import MemoryPool
from memory.pools import MAX_NAME, change_pool, create_pool, delete_pool
from memory.role_permissions import DELETE_POOL


class PoolForm(AuditedFormMixin, forms.ModelForm):  # type: ignore[type-arg]
    """The form of a pool. Whether it is personal is asked once: its memories are written on that promise."""

    name = forms.CharField(max_length=MAX_NAME, widget=TextInput)
    agents = forms.MultipleChoiceField(
        choices=[], required=False, widget=CheckboxSelectMultiple, label="Agents that share it"
    )
    personal = forms.BooleanField(
        required=False,
        initial=True,
        widget=CheckboxInput,
        label="Each user has their own memories in it",
        help_text="If not, what stands in it is recalled for everybody who talks to these agents.",
    )

    class Meta:
        model = MemoryPool
        fields = ("name",)

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        if "agents" in self.fields:
            field: Any = self.fields["agents"]
            field.choices = [(str(pk), name) for pk, name in Agent.objects.order_by("name").values_list("pk", "name")]
            self.initial["agents"] = [str(agent) for agent in self.instance.agents]
        if not self._is_new:
            self.fields.pop("personal", None)
        self.remember(None if self._is_new else self.instance)

    @property
    def _is_new(self) -> bool:
        return bool(self.instance._state.adding)

    def stored_row(self) -> MemoryPool | None:
        return None if self._is_new else MemoryPool.objects.select_for_update(no_key=True).get(pk=self.instance.pk)

    def form_values(self, row: MemoryPool) -> dict[str, Any]:
        return {"name": row.name, "agents": [str(agent) for agent in row.agents]}

    def clean(self) -> dict[str, Any]:
        cleaned: dict[str, Any] = super().clean() or {}
        self.refuse_stale()
        return cleaned


@admin.register(MemoryPool)
class MemoryPoolAdmin(ConsoleAdmin):
    """Pools of memories, with a button that deletes one with all that it holds."""

    query_budget = 7

    form = PoolForm
    change_form_template = "console/versioned_form.html"
    list_display = ("name", "kind", "agent_count", "created_at")
    ordering = ("name",)
    search_fields = ("name",)
    readonly_fields = ("kind",)
    actions_detail = ("delete_pool",)

    @admin.display(description="whose memories")
    def kind(self, pool: MemoryPool) -> str:
        return "each user's own" if pool.personal else "everybody's"

    @admin.display(description="agents")
    def agent_count(self, pool: MemoryPool) -> int:
        return len(pool.agents)

    def get_fields(self, request: HttpRequest, obj: Any = None) -> tuple[str, ...]:  # noqa: ARG002
        return ("name", "agents", "personal") if obj is None else ("name", "kind", "agents")

    def get_readonly_fields(self, request: HttpRequest, obj: Any = None) -> tuple[str, ...]:  # noqa: ARG002
        return () if obj is None else ("kind",)

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:  # noqa: ARG002
        """Always False: pools are deleted by the button only, which says what goes with them."""
        return False

    def has_remove_permission(self, request: HttpRequest, object_id: Any = None) -> bool:  # noqa: ARG002
        return request.user.has_perm(DELETE_POOL)

    def save_model(self, request: HttpRequest, obj: MemoryPool, form: Any, change: bool) -> None:
        actor, data = user_actor(request.user), form.cleaned_data
        agents = [UUID(agent) for agent in data["agents"]]
        if change:
            change_pool(actor, obj.pk, name=data["name"], agents=agents, expected_version=data["version"])
        else:
            obj.pk = create_pool(actor, name=data["name"], agents=agents, personal=data["personal"]).pk

    @action(description="Delete", permissions=["remove"], url_path="delete-pool", icon="delete")
    def delete_pool(self, request: HttpRequest, object_id: str) -> HttpResponse:
        pool = self.get_object(request, object_id)
        if pool is None:
            return self.redirect_missing(request, object_id)
        confirmation = confirmation_page(
            request,
            self,
            title=f"Delete the pool {pool}?",
            message="All memories in it are erased, of all users. It cannot be undone.",
            yes="Delete",
            back=row_url(pool),
            danger=True,
        )
        if confirmation is not None:
            return confirmation
        try:
            gone = delete_pool(user_actor(request.user), pool.pk)
        except BandstandError as error:
            messages.error(request, error.detail)
        else:
            messages.success(request, f"{pool} is deleted, with {gone:,} memories.")
        return HttpResponseRedirect(reverse("admin:memory_memorypool_changelist"))
