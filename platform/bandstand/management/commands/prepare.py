"""`manage.py prepare`: migrate and set up the database. Idempotent, and safe to run concurrently."""

from typing import Any

import psycopg
from django.conf import settings
from django.core.management import call_command, get_commands
from django.core.management.base import BaseCommand, CommandError
from django.db import connection

from accounts.roles import sync_roles
from bandstand import boot_checks, data_dir, databases, static_collection
from foundation.advisory_locks import AdvisoryLock, advisory_lock
from monitoring.alerts.built_in_rules import create_built_in_rules
from monitoring.notifications.channel_secrets import reencrypt_secrets
from monitoring.readiness import missing_migrations
from scheduling import q2_sync


class Command(BaseCommand):
    help = "Check the database, apply migrations, sync the roles, ensure schedules, alert rules and the first account."
    requires_system_checks = []

    def handle(self, *_args: Any, verbosity: int, **_options: Any) -> None:
        try:
            data_dir.claim(settings.BANDSTAND.data_dir)
        except data_dir.DataDirError as error:
            raise CommandError(str(error)) from None
        static_collection.collect(settings.BANDSTAND.data_dir / data_dir.STATIC_FOLDER)
        url = databases.database_url(settings.BANDSTAND)
        faults = boot_checks.find_faults(url, migrating=True, wait_seconds=3.0)
        if faults:
            for fault in faults:
                self.stderr.write(f"bandstand: {fault}")
            raise SystemExit(1)
        with (
            psycopg.connect(url, autocommit=True, application_name="bandstand-prepare") as lock_connection,
            # Serialises installations that start on one database.
            advisory_lock(AdvisoryLock.PREPARE_INSTALLATION, on=lock_connection),
        ):
            if missing_migrations():
                call_command("migrate", interactive=False, verbosity=verbosity, skip_checks=True)
            sync_roles()
            q2_sync.sync_schedules()
            q2_sync.queue_heartbeat()
            create_built_in_rules()
            reencrypt_secrets()
            if "bootstrap" in get_commands():
                call_command("bootstrap", stdout=self.stdout)
        connection.close()
