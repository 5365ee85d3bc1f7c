"""Words for the console's pages."""

from __future__ import annotations

from django import template

register = template.Library()


@register.filter
def act(action: str) -> str:
    """`api_key.created` in words: "API key created"."""
    noun, _, verb = action.partition(".")
    words = f"{noun} {verb}".replace("_", " ").strip()
    return words.replace("api key", "API key", 1) if words.startswith("api key") else words.capitalize()
