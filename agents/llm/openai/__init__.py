"""The thin adapter for servers with OpenAI's chat completions API: OpenAI itself and most local servers."""

from agents.llm.openai.adapter import DEFAULT_BASE_URL, OpenAIConfig, OpenAIModel

__all__ = ["DEFAULT_BASE_URL", "OpenAIConfig", "OpenAIModel"]
