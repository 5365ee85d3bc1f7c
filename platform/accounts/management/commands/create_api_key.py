"""`manage.py create_api_key --user NAME`: creates an API key and prints it."""

from __future__ import annotations

from argparse import ArgumentParser
from datetime import timedelta
from typing import Any

from django.core.management.base import BaseCommand, CommandError

from accounts.actor import Actor, Scope
from accounts.api_keys import create_api_key
from accounts.models import User
from foundation.clock import now
from foundation.errors import BandstandError


class Command(BaseCommand):
    help = "Make an API key for a user and print it. It cannot be shown again."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--user", required=True, help="the user's name")
        parser.add_argument("--name", default="command line", help="what the key is for")
        parser.add_argument("--scopes", default="chat,read", help=f"of {', '.join(Scope)}, with commas")
        parser.add_argument("--days", type=int, default=365, help="until it ends; 0: never")
        parser.add_argument("--connections", type=int, help="that it may have open at a time; 0: any number")

    def handle(self, *_args: Any, **options: Any) -> None:
        user = User.objects.filter(username=options["user"]).first()
        if user is None:
            raise CommandError(f"There is no user {options['user']!r}.")
        days: int = options["days"]
        if not 0 <= days <= 36_500:
            raise CommandError("--days: 0 to 36500.")
        try:
            _, plain = create_api_key(
                Actor.system("create_api_key"),
                user=user,
                name=options["name"],
                scopes=[word.strip() for word in options["scopes"].split(",")],
                expires_at=now() + timedelta(days=days) if days else None,
                connections=options["connections"],
            )
        except BandstandError as error:
            raise CommandError(error.detail) from None
        # Only the key goes to stdout, so that a shell can capture it.
        self.stdout.write(plain)
        self.stderr.write("Keep it now: it is stored as a digest only and cannot be shown again.")
