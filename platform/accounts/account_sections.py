"""Sections of the account page that apps add to it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class AccountSection:
    """`template` is included with what `build` returns for the user's id as `section`; not at all for None."""

    template: str
    build: Callable[[int], Any]


_sections: list[AccountSection] = []


def register_account_section(section: AccountSection) -> None:
    """Add a section to the account page, after those that were registered before."""
    if section not in _sections:
        _sections.append(section)


def build_account_sections(user_id: int) -> list[tuple[str, Any]]:
    """The template of each section that has something to show to this user, and what it shows."""
    built = [(section.template, section.build(user_id)) for section in _sections]
    return [(template, content) for template, content in built if content is not None]
