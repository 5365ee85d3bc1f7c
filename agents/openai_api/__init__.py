"""The OpenAI-compatible endpoint `/v1`: agents as models, for clients with a base URL and an API key."""
