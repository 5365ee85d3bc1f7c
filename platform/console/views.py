"""What our own pages have in common: the frame of the console around them, and addresses."""

from __future__ import annotations

from typing import Any

from django.contrib.admin import ModelAdmin
from django.db.models import Model
from django.http import HttpRequest
from django.template.response import TemplateResponse
from django.urls import reverse


def console_page(
    request: HttpRequest, model_admin: ModelAdmin[Any], template: str, *, title: str, **context: Any
) -> TemplateResponse:
    """A page of the console; `context` is added to the frame's for `template`."""
    frame = model_admin.admin_site.each_context(request)
    return TemplateResponse(request, template, {**frame, "title": title, **context})


class NamedRow:
    """A row under a name of the page's own, for the way back at its head (the frame takes it as `original`)."""

    def __init__(self, row: Model, name: str) -> None:
        self.pk, self._meta, self._name = row.pk, row._meta, name

    def __str__(self) -> str:
        return self._name


def row_url(row: Model, name: str = "change") -> str:
    """The address of the page of `row`, or of one of the buttons on it."""
    return reverse(f"admin:{row._meta.app_label}_{row._meta.model_name}_{name}", args=[row.pk])
