"""The thin adapter for servers with OpenAI's chat completions API: OpenAI itself and most local servers."""

from agents.llm.openai.adapter import OpenAIConfig, OpenAIModel

__all__ = ["OpenAIConfig", "OpenAIModel"]
