"""What agents are asked at a time for the caller."""

from __future__ import annotations

from typing import Any

from agents.api.turn_schedules import (
    UPCOMING,
    NewSchedule,
    PauseView,
    ResumeView,
    ScheduleChange,
    SchedulesView,
    ScheduleView,
)
from agents.domain.message_parts import MAX_TEXT_BYTES
from agents.models import TurnSchedule
from agents.sessions.turn_schedules import ScheduleState
from rest.schema.json_schema import (
    COUNT,
    ID,
    MOMENT,
    SESSION_ID,
    SLUG,
    TEXT,
    THEN,
    TURN_ID,
    array,
    choice,
    described,
    or_null,
    page_schema,
    record,
    ref,
)
from rest.schema.operation import CURSOR, ETAG, LIMIT, LOCATION, REPLAYED, Answer, Body, Operation
from rest.serializers import Input
from scheduling.timing import CRON_MAX_LENGTH

SCHEDULE_ID = "019ab000-0000-7000-8000-000000000009"
EXAMPLE: dict[str, Any] = {
    "id": SCHEDULE_ID,
    "agent": "demo",
    "session": None,
    "text": "What is new?",
    "cron": "0 8 * * 1-5",
    "at": None,
    "time_zone": "Europe/Zurich",
    "description": "every weekday 08:00, Zurich",
    "state": "active",
    "upcoming": ["2026-11-30T07:00:00.000000Z", "2026-12-01T07:00:00.000000Z", "2026-12-02T07:00:00.000000Z"],
    "missed": 0,
    "last": {
        "due_at": "2026-11-27T07:00:00.000000Z",
        "fired_at": "2026-11-27T07:00:20.000000Z",
        "outcome": "asked",
        "session": SESSION_ID,
        "turn": TURN_ID,
        "error": None,
    },
    "version": 1,
    "created_at": THEN,
}
_PAUSED = {**EXAMPLE, "state": "paused", "upcoming": [], "version": 2}
_TEXT = described(TEXT, "The message that the agent is sent.", minLength=1, maxLength=MAX_TEXT_BYTES)
_CRON = described(
    TEXT,
    "Minute, hour, day of the month, month, day of the week. Two times are as far apart as the installation wants.",
    maxLength=CRON_MAX_LENGTH,
)
_AT = described(MOMENT, "The one time; in place of `cron`.")
_TIME_ZONE = described(TEXT, "The IANA name of the clocks that `cron` reads, such as `Europe/Zurich`.")
COMPONENTS = {
    "Schedule": record(
        {
            "id": ID,
            "agent": described(SLUG, "The agent that is asked."),
            "session": described(or_null(ID), "The session that it goes on with; null: a new one each time."),
            "text": _TEXT,
            "cron": or_null(_CRON),
            "at": or_null(_AT),
            "time_zone": _TIME_ZONE,
            "description": described(TEXT, "When, in words."),
            "state": choice(
                *(state.value for state in ScheduleState),
                description="`held`: an operator has stopped it; `over`: its one time has passed.",
            ),
            "upcoming": array(MOMENT, description=f"Its next times, up to {UPCOMING}; none unless it is active."),
            "missed": described(COUNT, "Times that passed while nothing could fire them; the newest of a row was."),
            "last": described(or_null(ref("ScheduleRun")), "What became of it the last time."),
            "version": described(COUNT, "Grows with every change; also in the ETag."),
            "created_at": MOMENT,
        }
    ),
    "ScheduleRun": record(
        {
            "due_at": described(MOMENT, "The time that it was fired for."),
            "fired_at": described(MOMENT, "When it was."),
            "outcome": choice(
                *TurnSchedule.Outcome.values,
                description="`refused`: see `error`.",
            ),
            "session": described(or_null(ID), "Where it was asked."),
            "turn": described(or_null(ID), "The turn that answers."),
            "error": described(
                or_null(TEXT),
                "Why it was refused: your rights and limits of that moment, or that a person answers there.",
            ),
        }
    ),
    "SchedulePage": page_schema(ref("Schedule")),
}
OPERATIONS = {
    (SchedulesView, "get"): Operation(
        "list_schedules",
        "Schedules",
        "Your schedules",
        "The newest first.",
        [
            Answer(
                200, "A page of schedules.", ref("SchedulePage"), {"results": [EXAMPLE], "next": None, "previous": None}
            )
        ],
        parameters=[LIMIT, CURSOR],
    ),
    (SchedulesView, "post"): Operation(
        "create_schedule",
        "Schedules",
        "Have an agent asked at a time",
        "Either an `agent`, which begins a session each time, or a `session`, which goes on; either `cron` or `at`. It "
        "is asked as you, with the rights and limits that you have then, and gives way to people who wait.",
        [Answer(201, "The schedule.", ref("Schedule"), EXAMPLE, headers=[ETAG, LOCATION, REPLAYED])],
        scope="chat",
        body=Body(
            NewSchedule,
            {
                "text": _TEXT,
                "agent": SLUG,
                "session": ID,
                "cron": _CRON,
                "at": _AT,
                "time_zone": {**_TIME_ZONE, "default": "UTC"},
            },
            {"text": "What is new?", "agent": "demo", "cron": "0 8 * * 1-5", "time_zone": "Europe/Zurich"},
        ),
        idempotent=True,
        refusals={409: "You have as many schedules as you may."},
    ),
    (ScheduleView, "get"): Operation(
        "get_schedule",
        "Schedules",
        "One schedule",
        "With its version in the ETag.",
        [Answer(200, "The schedule.", ref("Schedule"), EXAMPLE, headers=[ETAG])],
    ),
    (ScheduleView, "patch"): Operation(
        "update_schedule",
        "Schedules",
        "Change what is asked, or when",
        "`cron` replaces `at`, and the other way round.",
        [Answer(200, "The schedule.", ref("Schedule"), {**EXAMPLE, "version": 2}, headers=[ETAG])],
        scope="chat",
        body=Body(
            ScheduleChange,
            {"text": _TEXT, "cron": _CRON, "at": _AT, "time_zone": _TIME_ZONE},
            {"cron": "30 7 * * 1-5"},
            at_least_one=True,
        ),
        versioned=True,
        refusals={409: "It was over, and you have as many schedules as you may."},
    ),
    (ScheduleView, "delete"): Operation(
        "delete_schedule",
        "Schedules",
        "Delete a schedule",
        "What was asked by it stays.",
        [Answer(204, "It is gone.")],
        scope="chat",
        versioned=True,
    ),
    (PauseView, "post"): Operation(
        "pause_schedule",
        "Schedules",
        "Pause a schedule",
        "It is not fired until it is resumed; one that is paused stays so.",
        [Answer(200, "The schedule.", ref("Schedule"), _PAUSED, headers=[ETAG, REPLAYED])],
        scope="chat",
        body=Body(Input, {}, {}, may_be_empty=True),
        idempotent=True,
    ),
    (ResumeView, "post"): Operation(
        "resume_schedule",
        "Schedules",
        "Resume a schedule",
        "It goes on with its next time; what passed in between is not made up for.",
        [Answer(200, "The schedule.", ref("Schedule"), {**EXAMPLE, "version": 3}, headers=[ETAG, REPLAYED])],
        scope="chat",
        body=Body(Input, {}, {}, may_be_empty=True),
        idempotent=True,
        refusals={409: "An operator holds it, or its one time has passed."},
    ),
}
