"""`manage.py export_agent`: an agent as a file."""

from __future__ import annotations

from argparse import ArgumentParser
from pathlib import Path
from typing import Any

from django.core.management.base import BaseCommand, CommandError

from agents.models import Agent, AgentDraft, Configuration
from agents.releases.agent_files import dump_agent
from foundation.errors import BandstandError


class Command(BaseCommand):
    help = "Write an agent as a file of YAML, for a repository: the live release, another one, or the draft."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("agent", help="its short name, or 'all'")
        source = parser.add_mutually_exclusive_group()
        source.add_argument("--release", type=int, metavar="N", help="this release; else the live one")
        source.add_argument("--draft", action="store_true", help="the draft")
        parser.add_argument("--json", action="store_true", help="as JSON")
        parser.add_argument("--output", type=Path, help="a file; for 'all' a folder")

    def handle(self, *_args: Any, **options: Any) -> None:
        rows = Agent.objects.select_related("live_release").filter(archived_at=None).order_by("slug")
        if options["agent"] != "all":
            rows = rows.filter(slug=options["agent"])
        agents = list(rows)
        if not agents:
            raise CommandError("There is no such agent.")
        output: Path | None = options["output"]
        if options["agent"] == "all" and output is None:
            raise CommandError("`all` needs a folder: --output agents")
        for agent in agents:
            try:
                text = dump_agent(agent, _source(agent, options), as_json=options["json"])
            except BandstandError as error:
                raise CommandError(f"{agent.slug}: {error.detail}") from None
            if output is None:
                self.stdout.write(text, ending="")
                continue
            path = output
            if options["agent"] == "all":
                output.mkdir(parents=True, exist_ok=True)
                path = output / f"{agent.slug}.{'json' if options['json'] else 'yaml'}"
            path.write_text(text, encoding="utf-8")
            self.stdout.write(f"{agent.slug}: {path}")


def _source(agent: Agent, options: dict[str, Any]) -> Configuration:
    source: Configuration | None
    if options["release"] is not None:
        source = agent.releases.filter(number=options["release"]).first()
    elif options["draft"] or agent.live_release is None:
        source = AgentDraft.objects.filter(agent=agent).first()
    else:
        source = agent.live_release
    if source is None:
        raise CommandError(f"{agent.slug} has none.")
    return source
