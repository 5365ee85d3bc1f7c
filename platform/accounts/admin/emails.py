"""Mail to people: what was asked for, and whether it arrived."""

from __future__ import annotations

from django.contrib import admin

from accounts.models import OutgoingEmail
from console.admin import ReadOnlyAdmin
from console.formatting import badge

_LEVELS = {OutgoingEmail.State.WAITING: "warn", OutgoingEmail.State.SENT: "good", OutgoingEmail.State.FAILED: "bad"}


@admin.register(OutgoingEmail)
class OutgoingEmailAdmin(ReadOnlyAdmin):
    query_budget = 7

    list_display = ("created_at", "user", "kind", "how_it_went", "address", "error")
    list_select_related = ("user",)
    list_filter = ("state", "kind")
    search_words = ("user__username", "address")
    search_help_text = "The name of a user, or the address that it went to."
    fields = (
        "created_at", "user", "kind", "asked_by", "how_it_went",
        "address", "attempts", "due_at", "finished_at", "error",
    )  # fmt: skip

    @admin.display(description="how it went")
    def how_it_went(self, letter: OutgoingEmail) -> str:
        return badge(letter.get_state_display().lower(), _LEVELS[OutgoingEmail.State(letter.state)])
