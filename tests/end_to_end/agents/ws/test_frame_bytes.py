"""Any bytes behind a good handshake: the server goes on, or closes with a code that names the client's fault.

Never 1011, and never so that it is gone for others.
"""

import asyncio
import os
import struct
from collections.abc import Iterator

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from foundation.db_threads import in_db_thread
from tests.end_to_end.agents.ws.test_websocket_server import Web
from tests.support.sockets import Owner

pytestmark = pytest.mark.usefixtures("transactional_db")

# As in `bandstand.web.websocket_protocol`, whose import would install a reactor.
RATE_CLOSE_SECONDS = 2.0
# Of the standard for a client's fault or a goodbye, and ours. None: hung up without one.
ALLOWED = {None, 1000, 1001, 1002, 1003, 1007, 1008, 1009, 4400, 4413, 4429}

PAYLOADS = st.one_of(
    st.binary(max_size=300),
    st.sampled_from(
        [
            b'{"type":"ping"}',
            b'{"type":"resume","after":0}',
            b'{"type":"resume","after":9007199254740991}',
            b'{"type":"seen","seq":1}',
            b"{",
            b"[" * 5000,
            b"\xff\xfe",
            b"\x03\xe8",
            b"\x03\xe8bye \xff",
            b"\x00\x00",
            b"\xff\xff",
        ]
    ),
)


@st.composite
def raw_frames(draw: st.DrawFn) -> bytes:
    """One frame, or what resembles one: any opcode, reserved bits, with and without mask, a wrong length."""
    payload = draw(PAYLOADS)
    opcode = draw(st.sampled_from([0, 1, 1, 1, 2, 8, 9, 10, *range(3, 8), *range(11, 16)]))
    first = draw(st.sampled_from([0x80, 0x80, 0x80, 0x00, 0xC0, 0x90])) | opcode
    masked = draw(st.sampled_from([True, True, True, False]))
    said = draw(st.sampled_from([len(payload)] * 6 + [0, 125, 1 << 20, 1 << 40, (1 << 63) + 1]))
    bit = 0x80 if masked else 0
    if said < 126:
        head = struct.pack("!BB", first, bit | said)
    elif said < 1 << 16:
        head = struct.pack("!BBH", first, bit | 126, said)
    else:
        head = struct.pack("!BBQ", first, bit | 127, said)
    mask = b"\x01\x02\x03\x04"
    body = bytes(byte ^ mask[n % 4] for n, byte in enumerate(payload))
    return head + (mask + body if masked else payload)


INPUT = st.lists(st.one_of(raw_frames(), raw_frames(), st.binary(max_size=40)), min_size=1, max_size=6)


@pytest.fixture(scope="module")
def web(django_db_setup: None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Web]:
    started = Web(tmp_path_factory.mktemp("web"))
    yield started
    started.program.kill()


async def closed_with(web: Web, owner: Owner, data: bytes, seconds: float = 0.5) -> int | None:
    """Send `data` behind the handshake, then a goodbye; the code that the server closes with."""
    reader, writer = await asyncio.open_connection("127.0.0.1", web.port)
    writer.write(
        f"GET /ws/sessions/{owner.session.pk}/ HTTP/1.1\r\nHost: 127.0.0.1\r\nUpgrade: websocket\r\n"
        "Connection: Upgrade\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n"
        f"Authorization: Bearer {owner.key}\r\n\r\n".encode()
    )
    assert b" 101 " in await reader.readuntil(b"\r\n\r\n")
    writer.write(data)
    goodbye = b"\x88\x82\x00\x00\x00\x00\x03\xe8"
    # More than any frame that was begun may still want: it is ended, and what follows is a goodbye or noise.
    writer.write(goodbye * 40)
    try:
        async with asyncio.timeout(seconds):
            return await _code(reader)
    except TimeoutError:
        return None  # it waits for the rest of a frame that was announced
    except (ConnectionError, asyncio.IncompleteReadError):
        return None
    finally:
        writer.transport.abort()


async def _code(reader: asyncio.StreamReader) -> int | None:
    while True:
        first, size = await reader.readexactly(2)
        if size == 126:
            (size,) = struct.unpack("!H", await reader.readexactly(2))
        elif size == 127:
            (size,) = struct.unpack("!Q", await reader.readexactly(8))
        payload = await reader.readexactly(size)
        if first & 0x0F == 8:
            return int.from_bytes(payload[:2]) if len(payload) >= 2 else None
        assert b'"internal"' not in payload, payload


async def test_no_bytes_are_our_fault(web: Web, transactional_db: None) -> None:
    owner = await in_db_thread(Owner)
    await web.serving()
    loop = asyncio.get_running_loop()
    codes: set[int | None] = set()

    @settings(
        max_examples=int(os.environ.get("WS_EXAMPLES", "60")), suppress_health_check=list(HealthCheck), deadline=None
    )
    @given(INPUT)
    def try_one(pieces: list[bytes]) -> None:
        code = asyncio.run_coroutine_threadsafe(closed_with(web, owner, b"".join(pieces)), loop).result(30)
        assert code in ALLOWED, code
        codes.add(code)

    await asyncio.to_thread(try_one)
    assert 1002 in codes, "no example broke the protocol"
    async with web.socket(owner) as ws:
        await ws.recv()
        await ws.send('{"type":"ping"}')
        assert await ws.recv() == '{"type":"pong"}'


def frame(opcode: int, payload: bytes = b"", *, final: bool = True) -> bytes:
    assert len(payload) < 126
    return bytes([(0x80 if final else 0) | opcode, 0x80 | len(payload)]) + b"\0\0\0\0" + payload


def fragments(count: int, payload: bytes = b"") -> bytes:
    """One message in so many frames."""
    middle = frame(0, payload, final=False) * (count - 2)
    return frame(1, payload, final=False) + middle + frame(0, payload)


PING, PONG = frame(9, b"hello"), frame(10)
# What is sent at once, and the code that the server closes with: 1000 is the client's own goodbye.
FLOODS: dict[str, tuple[bytes, int]] = {
    "five pings": (PING * 5, 1000),
    "six pings": (PING * 6, 4429),
    "pongs that nobody asked for": (PONG * 6, 4429),
    "pings and pongs": ((PING + PONG) * 3, 4429),
    "pings among a message": (frame(1, b"x", final=False) + PING * 6 + frame(0), 4429),
    "a thousand empty fragments": (fragments(1000), 1000),
    "one more": (fragments(1001), 4429),
    "one more, of a byte each": (fragments(1001, b"x"), 4429),
    "three messages of a thousand": (fragments(1000) * 3, 4429),
    "a hundred thousand pings": (PING * 100_000, 4429),
    "fragments without end": (frame(1, final=False) + frame(0, final=False) * 100_000, 4429),
}


async def test_control_frames_and_fragments_are_counted(web: Web, transactional_db: None) -> None:
    owner = await in_db_thread(Owner)
    await web.serving()
    async with web.socket(owner) as ws:
        await ws.recv()
        began = asyncio.get_running_loop().time()
        closes = await asyncio.gather(*(closed_with(web, owner, data, seconds=10) for data, _ in FLOODS.values()))
        assert dict(zip(FLOODS, closes, strict=True)) == {name: code for name, (_, code) in FLOODS.items()}
        assert asyncio.get_running_loop().time() - began >= RATE_CLOSE_SECONDS, "who floods again has to wait"
        # Others have noticed nothing.
        await ws.send('{"type":"ping"}')
        assert await ws.recv() == '{"type":"pong"}'
