"""An embedded PostgreSQL with a migrated, empty database for the bench."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from urllib.parse import urlsplit, urlunsplit

import psycopg

from bandstand.embedded import Cluster
from tests.support.database import set_environment, take_slot
from tests.support.surroundings import ROOT, environment

FOLDER = ROOT / ".cache" / "bench-memory"


@contextmanager
def open_database() -> Iterator[None]:
    """Start the server, make the database anew, and set up Django on it, in this process."""
    set_environment()
    # Of the product: the tests' fake embedder measures nothing.
    os.environ["BANDSTAND_EMBEDDINGS"] = os.environ.get("BENCH_EMBEDDINGS", "minilm")
    os.environ["BANDSTAND_ROLE"] = "command"
    os.environ["LOG_LEVEL"] = "WARNING"
    os.environ["DJANGO_SETTINGS_MODULE"] = "bandstand.settings"
    cluster = Cluster(take_slot(FOLDER / "postgres"), int(os.environ.get("PG") or 18))
    url = cluster.start()
    try:
        with psycopg.connect(url, autocommit=True) as connection:
            connection.execute("DROP DATABASE IF EXISTS bench_memory WITH (FORCE)")
            connection.execute("CREATE DATABASE bench_memory")
        os.environ["DATABASE_URL"] = urlunsplit(urlsplit(url)._replace(path="/bench_memory"))
        migrate = [sys.executable, str(ROOT / "manage.py"), "migrate", "--verbosity=0"]
        subprocess.run(migrate, env=environment(**os.environ), check=True)
        import django

        django.setup()
        yield
    finally:
        from django.db import connections

        connections.close_all()
        cluster.stop()
