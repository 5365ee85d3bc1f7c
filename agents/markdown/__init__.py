"""Markdown as HTML that is safe to put into a page, made on the server only."""

from agents.markdown.documents import unbroken
from agents.markdown.render import MAX_CHARS, render

__all__ = ["MAX_CHARS", "render", "unbroken"]
