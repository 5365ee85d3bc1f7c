"""`manage.py memories`: what a question finds, and why; the vectors that are missing."""

from __future__ import annotations

import json
from io import StringIO
from typing import Any

import pytest
from django.core.management import CommandError, call_command

from accounts.actor import Actor
from accounts.roles import Role
from memory.enums import MemoryScope, MemorySource
from memory.ownership import OwnerKey
from memory.writing import remember
from tests.support.people import person


def run(*arguments: Any) -> str:
    out = StringIO()
    call_command("memories", *arguments, stdout=out)
    return out.getvalue()


@pytest.mark.usefixtures("transactional_db")
def test_a_search_says_what_it_finds_and_why_once_the_vectors_are_made() -> None:
    ada = person("ada", Role.USER)
    for text in ("I live in Bern.", "I eat no meat."):
        owner = OwnerKey(MemoryScope.USER, user_id=ada.pk)
        remember(Actor.system("tests"), owner, text, source=MemorySource.FORM)
    assert json.loads(run("reembed", "--json")) == {"embedded": 2}
    found = json.loads(run("search", "ada", "Do I eat meat?", "--json"))
    best = found["results"][0]
    assert (best["text"], best["scope"]) == ("I eat no meat.", "user")
    assert best["signals"]["meaning"] > 0
    assert "I eat no meat." in run("search", "ada", "Do I eat meat?")
    for wrong in (("search", "nobody", "x"), ("search", "ada", " "), ("search", "ada", "x", "--agent", "none")):
        with pytest.raises(CommandError):
            run(*wrong)
