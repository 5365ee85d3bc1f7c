"""Somebody has forgotten their password, or says so. What comes back tells nothing about who has an account."""

from __future__ import annotations

from unicodedata import normalize

import structlog
from django.conf import settings
from django.db import transaction
from django.db.models import Q

from accounts.email_outbox import queue_emails
from accounts.login import PERIOD_SECONDS, name_digest
from accounts.models import OutgoingEmail, User
from ratelimits.limiter import client_network, consume, rate

# Letters to one account in an hour: by its name, and as many by its address.
PER_NAME, NAME_SECONDS = 3, 3600.0
# People who share an address.
MAX_ACCOUNTS = 5

log = structlog.get_logger(__name__)


def request_password_reset(text: str, *, address: str) -> None:
    """Have a link mailed to whoever has `text` as user name or address; the same work where nobody has.

    Raises `RateLimited` after too many such requests, for one name or from one `address`.
    """
    by_address = rate("passwords-address", settings.BANDSTAND.failed_logins_per_address, PERIOD_SECONDS, leased=False)
    by_name = rate("passwords-name", PER_NAME, NAME_SECONDS, leased=False)
    consume([(by_address, f"p:a:{client_network(address)}"), (by_name, f"p:n:{name_digest(text)}")])
    with transaction.atomic():
        matches = Q(username=normalize("NFKC", text)) | Q(email__iexact=text)
        users = list(User.objects.filter(matches, is_active=True).exclude(email="")[:MAX_ACCOUNTS])
        queue_emails(users or [None], kind=OutgoingEmail.Kind.FORGOTTEN)
    # What is nobody's name may be a password, and is not written down.
    log.info("password.forgotten", accounts=[user.get_username() for user in users], client=address)
