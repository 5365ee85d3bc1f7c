"""Template filters of the console."""

from __future__ import annotations

from django import template
from django.forms import BoundField
from django.utils.text import capfirst

from console.formatting import format_count, format_moment, time_ago, time_elapsed, time_until
from console.list_head import chips, tab_links
from console.navigation import list_title
from foundation.durations import duration

register = template.Library()


@register.filter
def action_label(action: str) -> str:
    """The label of an audit action: "API key created" for `api_key.created`."""
    noun, _, verb = action.partition(".")
    text = f"{noun} {verb}".replace("_", " ").strip()
    return text.replace("api key", "API key", 1) if text.startswith("api key") else text.capitalize()


@register.filter
def list_heading(title: str, link: str) -> str:
    """The title of the list at the address `link`, as in the sidebar; else `title`, capitalized."""
    *_, app_label, model_name = ["", *str(link).strip("/").split("/")]
    return list_title(app_label, model_name) or capfirst(str(title))


@register.filter
def readonly_value(field: BoundField) -> str:
    """The value of a form field as text, for read-only pages."""
    value = field.value()
    if isinstance(value, list | tuple):
        return ", ".join(str(item) for item in value) or "none"
    if isinstance(value, bool):
        return "on" if value else "off"
    return "the default" if value is None else f"{value:,}" if isinstance(value, int) else str(value)


register.filter("ago", time_ago)
register.filter("duration", duration)
register.filter("elapsed", time_elapsed)
register.filter("until", time_until)
register.filter("moment", format_moment)
register.filter("thousands", format_count)
register.filter("chips", chips)
register.filter("tab_links", tab_links)
