"""A fake model provider with faults: in-process for tests, `python -m tests.provider` for benchmarks and chaos."""

from tests.provider.server import Provider, Request, RequestLimit

__all__ = ["Provider", "Request", "RequestLimit"]
