"""A page is headed as the sidebar calls it."""

import re

import pytest
from django.test import Client

from accounts.models import AuditEntry
from accounts.roles import Role
from console.navigation import entries_by_group
from monitoring.models import Recommendation
from tests.support.console_pages import one_row_of_everything
from tests.support.consoles import client_of, page_of
from tests.support.people import person

pytestmark = pytest.mark.django_db


def heading(client: Client, address: str) -> tuple[str, list[str]]:
    """The title of the window, and the parts of the heading."""
    page = client.get(address).content.decode()
    [text] = re.findall(r"<h1[^>]*>(.*?)</h1>", page, re.DOTALL)
    parts = re.findall(r'<(?:a|span) class="bs-crumb"[^>]*>(.*?)</(?:a|span)>', text, re.DOTALL)
    title = re.search(r"<title>(.*?)</title>", page, re.DOTALL)
    assert title is not None
    return title[1].strip(), [part.strip() for part in parts]


def test_each_page_of_the_sidebar_is_headed_by_its_title() -> None:
    olga = client_of("olga", Role.OWNER)
    for entries in entries_by_group().values():
        for entry in entries:
            title, parts = heading(olga, entry.address)
            assert title.startswith(entry.title), entry
            assert parts in ([entry.title], []), entry


def test_a_row_is_headed_by_its_list_and_its_name() -> None:
    one_row_of_everything(person("ada", Role.USER))
    olga = client_of("olga", Role.OWNER)
    entry = AuditEntry.objects.get(action="debug_mode.begun")
    title, parts = heading(olga, page_of(entry))
    assert parts == ["Audit trail", "Debug mode begun: Demo"]
    assert title.startswith("Debug mode begun: Demo")
    assert heading(olga, page_of(Recommendation.objects.get()))[1] == ["Performance", "memory cleanup: host:1"]
