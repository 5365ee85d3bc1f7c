"""`manage.py bootstrap`: what a new installation needs before somebody can log in and chat."""

from __future__ import annotations

from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError, CommandParser

from accounts.first_owner import ensure_owner, make_owner
from agents.domain.configuration import AgentConfiguration
from agents.releases.demo import ensure_demo_agent
from foundation.errors import BandstandError


class Command(BaseCommand):
    help = "Make the first owner account and the demo agent, unless they exist."
    requires_system_checks = []  # it is part of every start

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--owner", metavar="NAME", help="Give this account the role owner first.")

    def handle(self, *_args: Any, owner: str | None = None, **_options: Any) -> None:
        config = settings.BANDSTAND
        try:
            if owner:
                make_owner(owner)
            login = ensure_owner(config.data_dir)
        except BandstandError as error:
            raise CommandError(error.detail) from None
        if login is not None:
            self.stdout.write(f"Made the account of the first owner; its login is in {login}")
        if (release := ensure_demo_agent(config.model)) is not None:
            chain = AgentConfiguration.parse(release.configuration).model_chain
            self.stdout.write(f"Published {release} with {', '.join(chain)}")
