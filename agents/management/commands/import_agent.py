"""`manage.py import_agent`: makes an agent and its draft what a file says."""

from __future__ import annotations

import sys
from argparse import ArgumentParser
from pathlib import Path
from typing import Any, Final

from django.core.management.base import BaseCommand, CommandError
from django.db import transaction

from accounts.actor import Actor
from agents.releases.agent_files import MAX_BYTES, ImportOutcome, import_agent, parse_agent_file
from foundation.errors import BandstandError

EXIT_DIFFERS: Final = 3


class Command(BaseCommand):
    help = (
        "Make agents and their drafts what files say. Nothing is published: `manage.py deploy` does that. What is so "
        "already is not written."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("file", nargs="+", type=Path, help="as of `export_agent`; - for standard input")
        parser.add_argument(
            "--check", action="store_true", help=f"write nothing; exit with {EXIT_DIFFERS} when something would change"
        )

    def handle(self, *_args: Any, **options: Any) -> None:
        differs = False
        with transaction.atomic():
            # All files or none.
            for path in options["file"]:
                try:
                    agent, outcome = import_agent(Actor.system("import_agent"), parse_agent_file(_read(path)))
                except BandstandError as error:
                    pointer = getattr(error, "pointer", None)
                    raise CommandError(f"{path}: {error.detail}" + (f" ({pointer})" if pointer else "")) from None
                differs |= outcome is not ImportOutcome.UNCHANGED
                self.stdout.write(f"{agent.slug}: {_WORDS[outcome] if options['check'] else outcome}")
            if options["check"]:
                transaction.set_rollback(True)
        if options["check"] and differs:
            raise SystemExit(EXIT_DIFFERS)


_WORDS: Final = {
    ImportOutcome.CREATED: "would be created",
    ImportOutcome.CHANGED: "would be changed",
    ImportOutcome.UNCHANGED: "unchanged",
}


def _read(path: Path) -> bytes:
    try:
        if str(path) == "-":
            return sys.stdin.buffer.read(MAX_BYTES + 1)
        with path.open("rb") as file:
            return file.read(MAX_BYTES + 1)
    except OSError as error:
        raise CommandError(f"{path}: {error.strerror}") from None
