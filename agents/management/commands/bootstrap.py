"""`manage.py bootstrap`: what a new installation needs before somebody can log in and chat."""

from __future__ import annotations

from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand

from accounts.bootstrap import ensure_owner
from agents.domain.configuration import AgentConfiguration
from agents.releases.demo import ensure_demo_agent


class Command(BaseCommand):
    help = "Make the first owner account and the demo agent, unless they exist."
    requires_system_checks = []  # it is part of every start

    def handle(self, *_args: Any, **_options: Any) -> None:
        config = settings.BANDSTAND
        if (login := ensure_owner(config.data_dir)) is not None:
            self.stdout.write(f"Made the account of the first owner; its login is in {login}")
        if (release := ensure_demo_agent(config.model)) is not None:
            chain = AgentConfiguration.parse(release.configuration).model_chain
            self.stdout.write(f"Published {release} with {', '.join(chain)}")
