"""Completions for OpenAI clients: accepting a request, recognizing a repeated one, and reading the result."""
