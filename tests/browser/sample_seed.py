"""A few hundred made-up conversations for the console's lists. Prints `{sample_failed, sample_session}`, two ids."""

from __future__ import annotations

import json
import os

import django

os.environ["DJANGO_SETTINGS_MODULE"] = "bandstand.settings"
os.environ["BANDSTAND_ROLE"] = "command"
django.setup()

from agents.management.demo.loading import load  # noqa: E402
from agents.models import Turn  # noqa: E402
from foundation.clock import now  # noqa: E402


def main() -> None:
    load(turns=400, seed=1, until=now(), tell=lambda _line: None)
    failed = Turn.objects.filter(status="failed", release__agent__slug="sample-support").latest("id")
    used_a_tool = Turn.objects.filter(status="completed", steps__kind="tool", steps__status="done").latest("id")
    print(json.dumps({"sample_failed": str(failed.pk), "sample_session": str(used_a_tool.agent_session_id)}))


if __name__ == "__main__":
    main()
