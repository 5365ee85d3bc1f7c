"""URLs below `/chat/`: private endpoints of the chat page."""

from __future__ import annotations

from django.urls import path, re_path

from agents.api.chat import ConversationView, RenderView, TimingView
from rest.not_found import not_found_view

app_name = "chat"

urlpatterns = [
    path("render", RenderView.as_view(), name="render"),
    path("sessions/<str:session_id>/messages", ConversationView.as_view(), name="conversation"),
    path("timing", TimingView.as_view(), name="timing"),
    re_path("^", not_found_view),
]
