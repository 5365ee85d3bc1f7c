"""`manage.py routes`: lists the routes to models; forces one open or closed for a time, or releases it."""

from __future__ import annotations

import re
from argparse import ArgumentParser
from typing import Any

from django.core.management.base import BaseCommand, CommandError

from accounts.actor import Actor
from agents.domain.circuit_breaker import ForcedState
from agents.models import RouteHealth
from agents.routing.route_actions import force_route, release_route
from agents.routing.route_status import route_status
from foundation.clock import now
from foundation.errors import BandstandError

_UNITS = {"s": 1, "m": 60, "h": 3_600, "d": 86_400}


class Command(BaseCommand):
    help = "List the routes to models. `force ROUTE open|closed --for 10m` holds one, `release ROUTE` lets go of it."

    def add_arguments(self, parser: ArgumentParser) -> None:
        actions = parser.add_subparsers(dest="action", metavar="{list,force,release}")
        actions.add_parser("list", help="the routes, and what is the matter with them (the default)")
        force = actions.add_parser("force", help="hold a route open (nobody asks it) or closed (it is asked)")
        force.add_argument("route", help="as in openai:gpt-5-mini")
        force.add_argument("state", choices=[state.value for state in ForcedState])
        force.add_argument("--for", dest="duration", default="10m", help="30s, 10m, 8h or 1d; 10m if unset")
        release = actions.add_parser("release", help="end what is forced, paused or open; an open one is tried at once")
        release.add_argument("route", help="as in openai:gpt-5-mini; openai:* for a credential")

    def handle(self, *_args: Any, **options: Any) -> None:
        actor = Actor.system("routes")
        try:
            match options["action"]:
                case "force":
                    seconds = _read_duration(options["duration"])
                    for route in _find(options["route"]):
                        force_route(actor, route_id=route.pk, state=ForcedState(options["state"]), seconds=seconds)
                case "release":
                    for route in _find(options["route"]):
                        release_route(actor, route_id=route.pk)
        except BandstandError as error:
            raise CommandError(error.detail) from None
        self._list()

    def _list(self) -> None:
        moment = now()
        rows = [("route", "credential", "state", "until", "what is the matter")]
        for route in RouteHealth.objects.all():
            status = route_status(route, moment)
            until = f"{status.until:%Y-%m-%d %H:%M:%S} UTC" if status.until is not None else ""
            rows.append((str(route), route.credential, status.label, until, status.reason))
        if len(rows) == 1:
            self.stdout.write("No process has asked a model yet, but for the offline one.")
            return
        widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
        for row in rows:
            self.stdout.write("  ".join(text.ljust(width) for text, width in zip(row, widths, strict=True)).rstrip())


def _find(name: str) -> list[RouteHealth]:
    """The rows of a route: one for each credential that has asked it. Raises `CommandError` if there is none."""
    provider, _, model = name.partition(":")
    rows = list(RouteHealth.objects.filter(provider=provider, model="" if model == "*" else model))
    if not rows:
        raise CommandError(f"No process has asked the route {name!r} yet; `manage.py routes` lists those that were.")
    return rows


def _read_duration(text: str) -> float:
    match = re.fullmatch(r"(\d{1,6})([smhd])", text)
    if match is None:
        raise CommandError("--for: a number and s, m, h or d, as in 10m.")
    return float(match[1]) * _UNITS[match[2]]
