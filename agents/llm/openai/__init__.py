"""The thin adapter for everything that speaks OpenAI's chat completions: OpenAI itself and most local servers."""

from agents.llm.openai.adapter import DEFAULT_BASE_URL, OpenAIConfig, OpenAIModel

__all__ = ["DEFAULT_BASE_URL", "OpenAIConfig", "OpenAIModel"]
