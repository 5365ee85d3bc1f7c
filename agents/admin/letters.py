"""Mail to people: what was asked for, and whether it arrived."""

from __future__ import annotations

from django.contrib import admin

from agents.admin.readonly import ReadOnlyAdmin
from agents.admin.telling import tag
from agents.models import Letter

_LEVELS = {Letter.State.WAITING: "warn", Letter.State.SENT: "good", Letter.State.FAILED: "bad"}


@admin.register(Letter)
class LetterAdmin(ReadOnlyAdmin):
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
    def how_it_went(self, letter: Letter) -> str:
        return tag(letter.get_state_display().lower(), _LEVELS[Letter.State(letter.state)])
