"""`manage.py export_list`: a list of the console as a file, as its page exports it."""

from __future__ import annotations

import sys
from argparse import ArgumentParser
from typing import Any
from urllib.parse import urlencode

from django.contrib import admin
from django.core.exceptions import BadRequest
from django.core.management.base import BaseCommand, CommandError
from django.http import HttpRequest, QueryDict

from accounts.admin.list_exports import ExportableAdmin, begin_export
from accounts.models import User
from accounts.permissions import user_actor
from console.list_export import FileFormat
from foundation.errors import BandstandError


class Command(BaseCommand):
    help = "Write a list of the console to the standard output, as somebody who may export it."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("list", choices=sorted(_exportable()))
        parser.add_argument("--user", required=True, help="whose permissions count, and who stands in the audit trail")
        parser.add_argument("--format", choices=[str(one) for one in FileFormat], default=str(FileFormat.JSONL))
        parser.add_argument("--json", action="store_const", dest="format", const=str(FileFormat.JSONL))
        parser.add_argument(
            "--filter", action="append", default=[], metavar="NAME=VALUE", help="as in the address of the list"
        )
        parser.add_argument("--search", default="")
        parser.add_argument(
            "--contents", action="store_true", help="with what was said, as far as the user may read it"
        )

    def handle(self, *_args: Any, **options: Any) -> None:
        model_admin = _exportable()[options["list"]]
        user = User.objects.filter(username=options["user"]).first()
        if user is None:
            raise CommandError("There is no such person.")
        query = [tuple(one.split("=", 1)) for one in options["filter"] if "=" in one]
        if len(query) != len(options["filter"]):
            raise CommandError("A filter is a name and a value: --filter state=failed")
        request = HttpRequest()
        request.GET = QueryDict(urlencode([*query, ("q", options["search"])]))
        request.user = user
        try:
            changelist = model_admin.get_changelist_instance(request)
            export = begin_export(
                user_actor(user),
                model_admin,
                changelist,
                file_format=FileFormat(options["format"]),
                with_contents=options["contents"],
                is_limited=False,
            )
            for piece in export.pieces():
                sys.stdout.buffer.write(piece)
        except BandstandError as error:
            raise CommandError(error.detail) from None
        except BadRequest as error:
            raise CommandError(str(error)) from None
        sys.stdout.flush()
        self.stderr.write(f"{export.rows:,} rows")


def _exportable() -> dict[str, ExportableAdmin]:
    """The lists that have an export, by the plural of their name: "turns", "audit-trail"."""
    return {
        str(model._meta.verbose_name_plural).replace(" ", "-"): model_admin
        for model, model_admin in admin.site._registry.items()
        if isinstance(model_admin, ExportableAdmin) and model_admin.export_columns
    }
