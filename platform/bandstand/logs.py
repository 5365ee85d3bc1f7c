"""Structured logs: one JSON object per line and one event name per fact; readable columns on a terminal.

Our own modules log through structlog (`log.info("turn.claimed", turn=…)`), libraries through the standard library; both
have the same format, with the request's id, without secrets, and without characters that a terminal obeys. Event names
are a noun and a past-tense verb in lower case: `turn.failed`, `job.not_found`.
"""

import logging
import sys
from collections.abc import Callable
from typing import Any

import structlog
from structlog.types import EventDict, Processor, WrappedLogger

from bandstand.config import Config
from bandstand.databases import secrets_in_use
from foundation.control_characters import escape_controls, escape_controls_in_tree
from foundation.scrubbing import Scrubber

# Libraries that log too much at their defaults.
LEVELS = {
    "daphne": "WARNING",
    "asyncio": "WARNING",
    "django.request": "ERROR",
    "django.server": "WARNING",
    "httpx2": "WARNING",
    "fontTools": "WARNING",
}

# The names under which structlog keeps texts of several lines.
TRACES = frozenset({"exception", "stack"})


def configure(config: Config) -> dict[str, Any]:
    """Configure structlog and return Django's LOGGING."""
    structlog.configure(
        processors=[
            structlog.stdlib.filter_by_level,
            *_common(),
            _hand_over,
        ],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.stdlib.BoundLogger,
        cache_logger_on_first_use=True,
    )
    return {
        "version": 1,
        "disable_existing_loggers": False,
        "formatters": {"lines": {"()": formatter, "config": config}},
        "handlers": {"stderr": {"class": "logging.StreamHandler", "formatter": "lines"}},
        "root": {"handlers": ["stderr"], "level": config.log_level},
        "loggers": {
            **{name: {"level": level} for name, level in LEVELS.items()},
            # These two bring handlers of their own unless they find one.
            "django": {"handlers": [], "level": "INFO", "propagate": True},
            "django-q": {"handlers": [], "level": "WARNING", "propagate": True},
        },
    }


def formatter(config: Config, *, terminal: bool | None = None) -> logging.Formatter:
    """The formatter of every handler. `terminal` overrides the detection by stderr of BANDSTAND_LOG_FORMAT=auto."""
    if config.log_format != "auto":
        terminal = config.log_format == "console"
    elif terminal is None:
        terminal = sys.stderr.isatty()
    return structlog.stdlib.ProcessorFormatter(
        foreign_pre_chain=_common(),
        processors=[
            structlog.stdlib.ProcessorFormatter.remove_processors_meta,
            structlog.processors.format_exc_info,
            scrub(Scrubber(secrets_in_use(config))),
            escape(terminal=terminal),
            _renderer(terminal),
        ],
    )


def scrub(scrubber: Scrubber) -> Processor:
    """A processor that removes secrets from all values; after all that add some."""

    def processor(_logger: WrappedLogger, _method: str, event: EventDict) -> EventDict:
        return {name: scrubber.tree(value) for name, value in event.items()}

    return processor


def escape(*, terminal: bool) -> Processor:
    """A processor that escapes control characters in all names and values; the last one before rendering.

    JSON has a form of its own for ends of lines. On a terminal only tracebacks have several lines: whoever could put an
    end of line into anything else could write a line of their own.
    """

    def processor(_logger: WrappedLogger, _method: str, event: EventDict) -> EventDict:
        return {
            escape_controls(name): escape_controls_in_tree(value, keep_lines=not terminal or name in TRACES)
            for name, value in event.items()
        }

    return processor


def _hand_over(logger: WrappedLogger, method: str, event: EventDict) -> tuple[tuple[EventDict], dict[str, Any]]:
    """The arguments for the standard library's logger. The exception is passed on, for error reports."""
    if event.get("exc_info") is True:
        event["exc_info"] = sys.exc_info()
    args, kwargs = structlog.stdlib.ProcessorFormatter.wrap_for_formatter(logger, method, event)
    return args, {**kwargs, "exc_info": event.get("exc_info")}


def _common() -> list[Processor]:
    return [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_log_level,
        structlog.stdlib.add_logger_name,
        structlog.stdlib.PositionalArgumentsFormatter(),
        structlog.stdlib.ExtraAdder(),
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        structlog.processors.StackInfoRenderer(),
    ]


def _renderer(terminal: bool) -> Callable[..., Any]:
    if terminal:
        return structlog.dev.ConsoleRenderer(colors=True)
    return structlog.processors.JSONRenderer(ensure_ascii=False)
