"""Users, roles, permissions and API keys; the login, the audit trail and outgoing e-mail."""
