"""The OpenAI-compatible endpoint `/v1`: agents as models, for every client that knows a base URL and a key."""
