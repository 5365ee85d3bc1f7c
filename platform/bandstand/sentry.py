"""Error reports to Sentry, when SENTRY_DSN is set: without personal data, local variables or secrets."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, Final

from bandstand import VERSION
from bandstand.config import Config
from bandstand.databases import secrets_in_use
from foundation.scrubbing import Scrubber

if TYPE_CHECKING:
    from sentry_sdk.transport import Transport
    from sentry_sdk.types import Breadcrumb, Event, Hint

# What the SDK may collect; replaces `send_default_pii=False, include_local_variables=False`.
NOTHING_PERSONAL: Final[Any] = {
    "user_info": False,
    "cookies": {"mode": "off"},
    "http_headers": {"request": {"mode": "off"}},
    "http_bodies": [],
    "url_query_params": {"mode": "off"},
    "gen_ai": {"inputs": False, "outputs": False},
    "graphql": {"document": False, "variables": False},
    "database_query_data": False,
    "queues": False,
    "stack_frame_variables": False,
}

# Fields of a log line that have their own place in a report.
_REPORT_FIELDS: Final = frozenset({"level", "logger", "timestamp", "exc_info"})


def start(config: Config, *, transport: type[Transport] | Callable[..., Any] | None = None) -> bool:
    """Initialise Sentry; return whether SENTRY_DSN is set. `transport` replaces the network."""
    if config.sentry_dsn is None:
        return False
    import sentry_sdk  # takes a tenth of a start, so only if used
    from sentry_sdk.integrations.aiohttp import AioHttpIntegration
    from sentry_sdk.integrations.django import DjangoIntegration

    scrubber = Scrubber(secrets_in_use(config))

    def clean_event(event: Event, hint: Hint) -> Event | None:
        if (fields := _log_fields(hint)) is not None:
            name = fields.pop("event")
            event["logentry"] = {"message": name, "formatted": name}
            event["extra"] = {**event.get("extra", {}), **fields}
        cleaned: Event = scrubber.tree(event)
        return cleaned

    def clean_breadcrumb(breadcrumb: Breadcrumb, hint: dict[str, Any]) -> Breadcrumb | None:
        if (fields := _log_fields(hint)) is not None:
            breadcrumb["message"] = fields.pop("event")
            breadcrumb["data"] = {**breadcrumb.get("data", {}), **fields}
        cleaned: Breadcrumb = scrubber.tree(breadcrumb)
        return cleaned

    sentry_sdk.init(
        dsn=config.sentry_dsn.get_secret_value(),
        release=VERSION,
        server_name=config.role,
        # Left to itself the SDK imports every library that it knows and finds: with the vendors' seconds of each start.
        auto_enabling_integrations=False,
        integrations=[DjangoIntegration(), AioHttpIntegration()],
        data_collection=NOTHING_PERSONAL,
        max_request_body_size="never",
        before_send=clean_event,
        before_send_transaction=clean_event,
        before_breadcrumb=clean_breadcrumb,
        transport=transport,
    )
    return True


def _log_fields(hint: Mapping[str, Any]) -> dict[str, Any] | None:
    """The event name and fields of a structlog line, or None. The SDK reports lines as text by default, and would not
    group those of one event."""
    message = getattr(hint.get("log_record"), "msg", None)
    if not isinstance(message, dict):
        return None
    return {name: value for name, value in message.items() if name not in _REPORT_FIELDS}
