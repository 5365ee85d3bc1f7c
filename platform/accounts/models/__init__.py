"""Rows about people, their keys, what they did and the e-mail they get."""

from accounts.models.audit import AuditEntry
from accounts.models.email import OutgoingEmail
from accounts.models.users import ApiKey, User

__all__ = ["ApiKey", "AuditEntry", "OutgoingEmail", "User"]
