"""URLs below `/v1/`."""

from __future__ import annotations

from django.urls import path, re_path

from agents.openai_api.views import CompletionsView, ModelsView, ModelView, unknown

app_name = "openai"

urlpatterns = [
    path("models", ModelsView.as_view(), name="models"),
    path("models/<path:model>", ModelView.as_view(), name="model"),
    path("chat/completions", CompletionsView.as_view(), name="completions"),
    re_path("^", unknown),
]
