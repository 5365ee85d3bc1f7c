"""`manage.py unlock_account NAME`: resets failed logins of an account or address."""

from __future__ import annotations

from argparse import ArgumentParser
from typing import Any

from django.core.management.base import BaseCommand, CommandError

from accounts.actor import Actor
from accounts.lockouts import unlock_account, unlock_address
from accounts.models import User


class Command(BaseCommand):
    help = "Let an account, an address or both sign in again at once that has to wait after failed attempts."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("name", nargs="?", help="the user's name")
        parser.add_argument("--address", help="where they sign in from")

    def handle(self, *_args: Any, **options: Any) -> None:
        name: str | None = options["name"]
        address: str | None = options["address"]
        if not (name or address):
            raise CommandError("Give the name of an account, --address, or both.")
        actor = Actor.system("unlock_account")
        if name:
            user = User.objects.filter(username=name).first() if "\x00" not in name else None
            if user is None:
                raise CommandError(f"There is no user {name!r}.")
            self._tell(f"The account {name}", unlock_account(actor, user_id=user.pk))
        if address:
            self._tell(f"The address {address}", unlock_address(actor, address=address))

    def _tell(self, what: str, waited: bool) -> None:
        self.stdout.write(f"{what} may try again." if waited else f"{what} did not have to wait.")
