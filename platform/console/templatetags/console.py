"""Words for the console's pages."""

from __future__ import annotations

from django import template
from django.forms import BoundField

from console.formatting import format_moment, time_ago
from foundation.durations import duration

register = template.Library()


@register.filter
def action_label(action: str) -> str:
    """`api_key.created` in words: "API key created"."""
    noun, _, verb = action.partition(".")
    text = f"{noun} {verb}".replace("_", " ").strip()
    return text.replace("api key", "API key", 1) if text.startswith("api key") else text.capitalize()


@register.filter
def readonly_value(field: BoundField) -> str:
    """What a field of a form holds, for those who may only read it."""
    value = field.value()
    if isinstance(value, list | tuple):
        return ", ".join(str(item) for item in value) or "none"
    return "the default" if value is None else f"{value:,}" if isinstance(value, int) else str(value)


register.filter("ago", time_ago)
register.filter("duration", duration)
register.filter("moment", format_moment)


@register.filter
def thousands(number: int) -> str:
    """1234567 as "1,234,567"."""
    return f"{number:,}"
