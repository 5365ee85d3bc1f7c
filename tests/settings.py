"""Settings of the tests: the product's own, over a database that `tests.support.database` provides."""

from tests.support import database

database.provide()

from bandstand.settings import *  # noqa: E402, F403
from bandstand.settings import DATABASES  # noqa: E402

DATABASES["default"]["TEST"] = {"TEMPLATE": database.template()}
# What a test itself commits need not outlive the machine: each commit would wait for the disk. The processes that tests
# start have the product's own settings.
DATABASES["default"]["OPTIONS"]["options"] += " -c synchronous_commit=off"

# The product's hasher takes a tenth of a second per password, on purpose.
PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]
