"""Who acts, and what they may: actors, roles, API keys."""
