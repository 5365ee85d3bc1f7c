"""Every form, list and action of the console with bad input: refused, or no such page; never our fault."""

from html.parser import HTMLParser
from typing import Any
from urllib.parse import urlencode

import pytest
from django.test import Client

from accounts.models import User
from accounts.roles import Role
from tests.end_to_end.test_access_matrix import ACTIONS, MODELS, addressed, model_pages, world
from tests.support.bad_input import IDS, ODD, UNSTORABLE
from tests.support.consoles import client_of

pytestmark = pytest.mark.django_db

__all__ = ["world"]  # the fixture

WILD = [
    *UNSTORABLE.values(),
    ODD["64 KB without a space"],
    ODD["right to left"],
    ODD["markup"],
    ODD["a template"],
    "-1",
    "1e400",
    "[",
    "{",
]
WILD_QUERIES = [
    "q=%00", "q=%ff", "q=" + "x" * 5000, "q='%20OR%201=1", "p=-1", "p=99999999999999999999", "p=x", "all=",
    "o=99.-99.x", "o=" + "1." * 2000, "e=1", "_to_field=password", "_popup=1&_to_field=x", "_changelist_filters=%00",
    "_facets=1", "password__startswith=p", "user__password__regex=(a%2B)%2B$", "id__in=" + "x," * 500,
    "is_active__exact=%00", "since=x&until=%00", "agent=%00", "state=%27", "user=99999999999999999999999", "cost=NaN",
    "release=-1", "error=%ed%a0%80",
]  # fmt: skip


class Fields(HTMLParser):
    """The fields of a page's forms that change something, with the values that they come with."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.found: dict[str, str] = {}
        self.feed(page)

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        said = dict(attributes)
        name = said.get("name")
        if tag in {"input", "textarea", "select"} and name and name != "csrfmiddlewaretoken":
            self.found.setdefault(name, said.get("value") or "")


def posted(client: Client, address: str, fields: dict[str, str]) -> Any:
    form = urlencode({name: value.encode("utf-8", "surrogatepass") for name, value in fields.items()})
    return client.post(address, form, content_type="application/x-www-form-urlencoded")


FORMS = [
    (model, pattern)
    for model, pages in sorted(model_pages().items())
    for pattern, word in pages
    if word not in {"see", "open", "history", "delete"}
]


@pytest.mark.parametrize(("model", "pattern"), FORMS, ids=[pattern for _, pattern in FORMS])
def test_no_form_breaks(world: User, model: str, pattern: str) -> None:
    client = client_of("olga", Role.OWNER)
    address = addressed(pattern, model)
    page = client.get(address)
    fields = Fields(page.content.decode()).found if page.status_code == 200 else {}
    for wild in WILD:
        answer = posted(client, address, {**dict.fromkeys(fields, wild), "action": wild})
        assert answer.status_code in {200, 302, 400, 403, 404, 409}, (wild[:20], answer.status_code)
    for name in fields:
        answer = posted(client, address, {**fields, name: "a\x00b"})
        assert answer.status_code in {200, 302, 400, 403, 404, 409}, (name, answer.status_code)


# In parts: all of a test is one transaction, and those have an end.
@pytest.mark.parametrize("part", range(3))
@pytest.mark.parametrize("model", sorted(MODELS))
def test_no_list_breaks(world: User, model: str, part: int) -> None:
    client = client_of("olga", Role.OWNER)
    address = f"/admin/{model.replace('.', '/')}/"
    for query in WILD_QUERIES[part::3]:
        assert client.get(f"{address}?{query}").status_code in {200, 302, 400, 404}, (model, query)
    for wild in IDS[part::3]:
        assert client.get(f"{address}{wild}/change/").status_code in {200, 302, 404}, (model, wild)


DONE = [(model, action) for model, actions in ACTIONS.items() for action in (*actions, "__class__", "\x00")]


@pytest.mark.parametrize(("model", "action"), DONE)
def test_no_action_breaks(world: User, model: str, action: str) -> None:
    client = client_of("olga", Role.OWNER)
    address = f"/admin/{model.replace('.', '/')}/"
    for row in ("a\x00b", "x", "-1", "9" * 40, "", "' OR 1=1 --"):
        for across in ("0", "\x00"):
            form = {"action": action, "_selected_action": row, "select_across": across, "index": row}
            answer = posted(client, address, form)
            assert answer.status_code in {200, 302, 400, 403, 404}, (row, across, answer.status_code)


@pytest.mark.parametrize("address", ["/admin/autocomplete/", "/admin/search/", "/admin/r/1/1/", "/admin/jsi18n/"])
def test_no_helper_page_breaks(world: User, address: str) -> None:
    client = client_of("olga", Role.OWNER)
    for query in [
        *WILD_QUERIES,
        "term=x&app_label=accounts&model_name=user&field_name=password",
        "s=%00",
        "s=x",
        "s=" + "x" * 5000,
    ]:
        assert client.get(f"{address}?{query}").status_code in {200, 302, 400, 403, 404}, (address, query)
