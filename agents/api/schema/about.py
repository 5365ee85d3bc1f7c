"""Title, description and tags of the schema for drf-spectacular. Imported by the settings: no Django here."""

from __future__ import annotations

from typing import Any

SETTINGS: dict[str, Any] = {
    "OAS_VERSION": "3.1.0",
    "TITLE": "Bandstand",
    "VERSION": "1",
    "DESCRIPTION": (
        "Durable conversations with AI agents. An accepted message is never lost, answered twice or left hanging.\n\n"
        "**To begin**, make a key on your account's page (your name in the chat), press *Authorize* and paste it; "
        "a program sends it as `Authorization: Bearer bs_…`. Begin a session, say something in it with `Prefer: "
        "wait=30`, and you have an answer. `docs/api.md` beside the program leads through the rest, with examples "
        "to paste. Programs that speak OpenAI's chat completions find the same agents at `/v1`: see "
        "`docs/openai.md`.\n\n"
        "**Refusals** all have one form (`application/problem+json`; each 422 shows it): `code` is for your program, "
        "`detail` for people, and `instance` is what to quote to us.\n\n"
        "Times are UTC, ISO 8601. Ids are UUIDs. A list comes in pages: follow `next` until it is null. Query "
        "parameters and fields that are not declared are refused with 422; in answers, ignore what you do not know. "
        "HEAD works wherever GET does. On the pages of this site the browser's login counts in place of a key; a "
        "change then needs the page's CSRF token in X-CSRFToken."
    ),
    # Where the schema was read from: it says nothing about an installation, and an installation may have several names.
    "SERVERS": [{"url": "/", "description": "This installation."}],
    "LICENSE": {"name": "All rights reserved"},
    "TAGS": [
        {"name": "Agents", "description": "Whom one may talk to."},
        {"name": "Sessions", "description": "Conversations, and what was said in them."},
        {"name": "Turns", "description": "A message and the work that answers it."},
        {"name": "Events", "description": "All that happens in a session, in order."},
        {"name": "Memories", "description": "What agents remember of you."},
        {"name": "Schedules", "description": "What agents are asked at a time, for you."},
        {"name": "You", "description": "What you have left."},
        {"name": "OpenAI-compatible", "description": "The same agents for clients of OpenAI; see `docs/openai.md`."},
    ],
    "DEFAULT_GENERATOR_CLASS": "rest.schema.generator.Generator",
    "PREPROCESSING_HOOKS": ["rest.schema.generator.only_v1"],
    "POSTPROCESSING_HOOKS": [],
    "SORT_OPERATIONS": False,
    "SORT_OPERATION_PARAMETERS": False,
    "DISABLE_DOCSTRING_DESCRIPTIONS": True,
}
INSPECTOR = "rest.schema.generator.Inspector"
