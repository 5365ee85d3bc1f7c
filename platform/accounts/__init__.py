"""Who acts, and what they may: people, their roles and API keys, sign-in, the audit trail, e-mail to them."""
