"""People at the console, and the addresses of its pages."""

from collections.abc import Mapping
from typing import Any

import pytest
from django.template.response import TemplateResponse
from django.test import Client
from django.urls import reverse

from accounts.roles import Role
from tests.support.people import person

Fields = dict[str, Any]


def client_of(name: str, *roles: Role) -> Client:
    """A browser in which a new person with these roles is signed in."""
    client = Client()
    client.force_login(person(name, *roles))
    return client


def list_of(model: Any) -> str:
    return reverse(f"admin:{model._meta.app_label}_{model._meta.model_name}_changelist")


def changelist_of(client: Client, address: str, query: Mapping[str, Any] | None = None) -> Any:
    """The changelist at `address`, for a test of its rows: the view runs, and the page is not rendered, which
    would take ten times as long."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(TemplateResponse, "rendered_content", "")
        answer: Any = client.get(address, query)
    assert answer.status_code == 200, (address, query)
    return answer.context_data["cl"]


def page_of(row: Any) -> str:
    return reverse(f"admin:{row._meta.app_label}_{row._meta.model_name}_change", args=[row.pk])


def button_of(row: Any, name: str) -> str:
    """The address of a button on the page of `row`."""
    return reverse(f"admin:{row._meta.app_label}_{row._meta.model_name}_{name}", args=[row.pk])


def fields_of(form: Any) -> Fields:
    """What a browser would send of a form that nobody touched."""
    values: Fields = {}
    for bound in form:
        value = bound.value()
        if isinstance(value, list):
            values[bound.html_name] = [str(getattr(item, "pk", item)) for item in value]
        elif value is not None and value is not False:
            values[bound.html_name] = str(value)
    return values


def confirmed(client: Client, address: str, **changes: Any) -> Any:
    """Press the button of a page that asks."""
    form = client.get(address).context["form"]
    sent = (fields_of(form) if form else {}) | changes | {"confirm": "yes"}
    return client.post(address, sent, follow=True)
