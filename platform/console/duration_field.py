"""A form field for a duration, written as people write it: "90 s", "5 min", "2 h"."""

from __future__ import annotations

import re
from typing import Any, Final

from django import forms

from console.widgets import TextInput
from foundation.durations import format_duration_exactly

_UNITS: Final = {"s": 1, "sec": 1, "m": 60, "min": 60, "h": 3_600, "d": 86_400}
_NUMBER: Final = re.compile(r"\d{1,7}", re.ASCII)
_PART: Final = re.compile(rf"(\d{{1,7}})\s*({'|'.join(sorted(_UNITS, key=len, reverse=True))})", re.ASCII)
_TEXT: Final = re.compile(rf"({_PART.pattern}\s*)+", re.ASCII)


class DurationField(forms.CharField):
    """Cleans to whole seconds; None if it is empty and not required. A number without a unit is seconds."""

    widget = TextInput
    default_error_messages = {"unreadable": "Write a duration such as 90 s, 5 min or 2 h."}

    def prepare_value(self, value: Any) -> Any:
        return format_duration_exactly(value) if isinstance(value, int) else value

    def to_python(self, value: Any) -> Any:
        text = super().to_python(value)
        if not text:
            return None
        seconds = parse_duration(text)
        if seconds is None:
            raise forms.ValidationError(self.error_messages["unreadable"], code="unreadable")
        return seconds

    def has_changed(self, initial: Any, data: Any) -> bool:
        return bool(self.to_python(data) != initial)


def parse_duration(text: str) -> int | None:
    """The seconds of "90", "90 s", "5 min" or "1 h 30 min"; None for what is no duration."""
    text = text.strip().lower()
    if _NUMBER.fullmatch(text):
        return int(text)
    if not _TEXT.fullmatch(text):
        return None
    return sum(int(count) * _UNITS[unit] for count, unit in _PART.findall(text))
