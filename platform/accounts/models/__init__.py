"""Models: users, API keys, audit entries, outgoing e-mail."""

from accounts.models.audit import AuditEntry
from accounts.models.email import OutgoingEmail
from accounts.models.users import ApiKey, User

__all__ = ["ApiKey", "AuditEntry", "OutgoingEmail", "User"]
