"""API keys: looked at and revoked here; made by `manage.py create_api_key`, which shows a key once."""

from __future__ import annotations

from django.contrib import admin, messages
from django.db.models import QuerySet
from django.http import HttpRequest

from agents.access.keys import revoke_api_key
from agents.access.permissions import actor_of
from agents.access.roles import REVOKE_API_KEY
from agents.admin.readonly import ReadOnlyAdmin
from agents.models import ApiKey


@admin.register(ApiKey)
class ApiKeyAdmin(ReadOnlyAdmin):
    query_budget = 8

    list_display = ("prefix", "name", "user", "scopes", "created_at", "expires_at", "last_used_at", "revoked_at")
    list_select_related = ("user",)
    list_filter = (("revoked_at", admin.EmptyFieldListFilter),)
    search_words = ("prefix", "user__username")
    search_help_text = "The id or prefix of a key, or the name of a user."
    fields = ("id", *list_display)
    actions = ("revoke",)

    def has_revoke_permission(self, request: HttpRequest) -> bool:
        return request.user.has_perm(REVOKE_API_KEY)

    @admin.action(description="Revoke selected keys", permissions=["revoke"])
    def revoke(self, request: HttpRequest, queryset: QuerySet[ApiKey]) -> None:
        actor = actor_of(request.user)
        ids = list(queryset.values_list("pk", flat=True))
        for key_id in ids:
            revoke_api_key(actor, key_id=key_id)
        messages.success(request, f"Revoked: {len(ids)}.")
