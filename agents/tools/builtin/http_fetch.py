"""Read a public web address."""

from __future__ import annotations

from agents.tools.tool import MAX_RESULT_BYTES, ToolContext, ToolError, tool
from foundation.http import Fetched, GuardedClient, decode_text

# What is kept of a result, twice: in UTF-16 it has so many bytes. More would be decoded in vain.
_MAX_BYTES = 2 * MAX_RESULT_BYTES
_MAX_REDIRECTS = 3
_TEXT_TYPES = frozenset({"application/json", "application/xml", "application/javascript", "application/yaml"})


@tool(idempotent=True, writes=False, timeout_seconds=25)
async def http_fetch(url: str, context: ToolContext) -> str:
    """Read a public web address with GET and return its text.

    Args:
        url: An absolute http or https address.
    """
    if context.client is not None:
        return _text(await _fetch(context.client, url))
    async with GuardedClient() as client:
        return _text(await _fetch(client, url))


async def _fetch(client: GuardedClient, url: str) -> Fetched:
    return await client.fetch(url, max_bytes=_MAX_BYTES, max_redirects=_MAX_REDIRECTS, total_seconds=20)


def _text(fetched: Fetched) -> str:
    if fetched.status >= 400:
        raise ToolError(f"The address answers with HTTP {fetched.status}.")
    kind = fetched.content_type
    if not (kind.startswith("text/") or kind in _TEXT_TYPES or kind.endswith(("+json", "+xml"))):
        raise ToolError(f"The address answers with {kind[:80] or 'something unnamed'}, not with text.")
    return decode_text(fetched.body, fetched.charset)
