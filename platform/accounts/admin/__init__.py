"""The console's pages for users, roles and groups, API keys, outgoing e-mail, the audit trail."""

from accounts.admin import api_keys, audit, emails, groups, users

__all__ = ["api_keys", "audit", "emails", "groups", "users"]
