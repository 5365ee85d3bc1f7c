"""Users, what they may do, and their API keys; the login, the audit trail and outgoing e-mail."""
