"""Renders Markdown to safe HTML, on the server only."""

from markdown_rendering.documents import join_lines
from markdown_rendering.render import MAX_CHARS, render

__all__ = ["MAX_CHARS", "join_lines", "render"]
