"""Addresses below `/chat/`: what the chat page reads beside the public interface."""

from __future__ import annotations

from django.urls import path

from agents.api.chat import ConversationView

app_name = "chat"

urlpatterns = [path("sessions/<str:session_id>/messages", ConversationView.as_view(), name="conversation")]
