"""`python -m tests.provider [--port 0] [--tokens 50] …`: run the provider; the first line it prints is its base URL."""

from __future__ import annotations

import argparse
import asyncio
import signal

import uvloop

from tests.provider.script import Script
from tests.provider.server import Provider


async def serve(provider: Provider, host: str, port: int) -> None:
    stopped = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, stopped.set)
    await provider.start(host, port)
    print(provider.base_url, flush=True)
    await stopped.wait()
    await provider.stop()


def main() -> None:
    parser = argparse.ArgumentParser(
        prog="python -m tests.provider",
        description=Script.__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=0, help="0: any free one")
    parser.add_argument("--kept", type=int, default=64, help="how many requests /_requests shows")
    parser.add_argument("--tokens", type=int)
    parser.add_argument("--ttft-ms", type=float)
    parser.add_argument("--headers-ms", type=float)
    parser.add_argument("--tps", type=float)
    parser.add_argument("--fault")
    options = vars(parser.parse_args())
    host, port, kept = options.pop("host"), options.pop("port"), options.pop("kept")
    defaults = {name: value for name, value in options.items() if value is not None}
    uvloop.run(serve(Provider(defaults=defaults, kept=kept), host, port))


if __name__ == "__main__":
    main()
