"""Password resets. Response and timing do not tell who has an account."""

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

# E-mails per hour for one user name, and as many for one address.
PER_NAME, NAME_SECONDS = 3, 3600.0
# Accounts with one address that get an e-mail each.
MAX_ACCOUNTS = 5

log = structlog.get_logger(__name__)


def request_password_reset(text: str, *, address: str) -> None:
    """Queue a link by e-mail to the accounts with `text` as user name or address; costs as much if there is none.

    Raises `RateLimited` after too many such requests, for one name or from one `address`.
    """
    by_address = rate("passwords-address", settings.BANDSTAND.failed_logins_per_address, PERIOD_SECONDS, leased=False)
    by_name = rate("passwords-name", PER_NAME, NAME_SECONDS, leased=False)
    consume([(by_address, f"p:a:{client_network(address)}"), (by_name, f"p:n:{name_digest(text)}")])
    with transaction.atomic():
        matches = Q(username=normalize("NFKC", text)) | Q(email__iexact=text)
        users = list(User.objects.filter(matches, is_active=True).exclude(email="")[:MAX_ACCOUNTS])
        queue_emails(users or [None], kind=OutgoingEmail.Kind.FORGOTTEN)
    # A text that matches no account may be a password, and is not logged.
    log.info("password.forgotten", accounts=[user.get_username() for user in users], client=address)
