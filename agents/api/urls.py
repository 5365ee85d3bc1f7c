"""URLs below `/api/`. The views parse the path parameters, so that a malformed id gets a problem response."""

from __future__ import annotations

from django.urls import include, path, re_path

from agents.api.agents import AgentsView, AgentView
from agents.api.approvals import ApprovalView
from agents.api.events import EventsView
from agents.api.export import ExportView
from agents.api.feedback import FeedbackView
from agents.api.fork import ForkView
from agents.api.handoffs import HandoffMessageView, HandoffView
from agents.api.me import LimitsView
from agents.api.memories import MemoriesView, MemoryExportView, MemorySearchView, MemoryView
from agents.api.session_tasks import TasksView, TaskView
from agents.api.sessions import MessagesView, SessionsView, SessionView
from agents.api.turn_schedules import PauseView, ResumeView, SchedulesView, ScheduleView
from agents.api.turns import CancelView, TurnsView, TurnView
from rest.docs import DocsView, SchemaView
from rest.not_found import not_found_view

app_name = "api"

_v1 = [
    path("agents", AgentsView.as_view(), name="agents"),
    path("agents/<str:slug>", AgentView.as_view(), name="agent"),
    path("sessions", SessionsView.as_view(), name="sessions"),
    path("sessions/<str:session_id>", SessionView.as_view(), name="session"),
    path("sessions/<str:session_id>/messages", MessagesView.as_view(), name="messages"),
    path("sessions/<str:session_id>/turns", TurnsView.as_view(), name="turns"),
    path("sessions/<str:session_id>/events", EventsView.as_view(), name="events"),
    path("sessions/<str:session_id>/fork", ForkView.as_view(), name="fork"),
    path("sessions/<str:session_id>/export", ExportView.as_view(), name="export"),
    path("sessions/<str:session_id>/handoff", HandoffView.as_view(), name="handoff"),
    path("sessions/<str:session_id>/handoff/message", HandoffMessageView.as_view(), name="handoff-message"),
    path("messages/<str:message_id>/feedback", FeedbackView.as_view(), name="feedback"),
    path("turns/<str:turn_id>", TurnView.as_view(), name="turn"),
    path("turns/<str:turn_id>/cancel", CancelView.as_view(), name="cancel"),
    path("turns/<str:turn_id>/approvals/<str:approval_id>", ApprovalView.as_view(), name="approval"),
    path("sessions/<str:session_id>/tasks", TasksView.as_view(), name="tasks"),
    path("tasks/<str:task_id>", TaskView.as_view(), name="task"),
    path("memories", MemoriesView.as_view(), name="memories"),
    path("memories/search", MemorySearchView.as_view(), name="memory-search"),
    path("memories/export", MemoryExportView.as_view(), name="memory-export"),
    path("memories/<str:memory_id>", MemoryView.as_view(), name="memory"),
    path("schedules", SchedulesView.as_view(), name="schedules"),
    path("schedules/<str:schedule_id>", ScheduleView.as_view(), name="schedule"),
    path("schedules/<str:schedule_id>/pause", PauseView.as_view(), name="pause-schedule"),
    path("schedules/<str:schedule_id>/resume", ResumeView.as_view(), name="resume-schedule"),
    path("me/limits", LimitsView.as_view(), name="limits"),
]

urlpatterns = [
    path("v1/", include(_v1)),
    path("schema", SchemaView.as_view(), name="schema"),
    path("docs", DocsView.as_view(), name="docs"),
    re_path("^", not_found_view),
]
