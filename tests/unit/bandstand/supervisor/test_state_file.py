"""The state of the watchdog outlives crashes and a full disk."""

from __future__ import annotations

from pathlib import Path

import pytest

from bandstand.supervisor.state_file import SLOT_BYTES, StateFile


def test_the_newest_value_is_read_back(tmp_path: Path) -> None:
    path = tmp_path / "watchdog.state"
    assert StateFile(path).read() is None
    file = StateFile(path)
    for number in range(5):
        file.write({"number": number, "text": "ü" * number})
        assert StateFile(path).read() == {"number": number, "text": "ü" * number}
    follower = StateFile(path)
    follower.read()
    follower.write("later")
    assert StateFile(path).read() == "later"
    assert path.stat().st_mode & 0o777 == 0o600


def test_a_crash_in_the_middle_leaves_the_value_before(tmp_path: Path) -> None:
    path = tmp_path / "watchdog.state"
    file = StateFile(path)
    file.write("first")
    file.write("second")
    content = bytearray(path.read_bytes())
    second = content.index(b'"second"')
    content[second + 3] ^= 1
    path.write_bytes(content)
    assert StateFile(path).read() == "first"
    path.write_bytes(b"nonsense" * 9)
    assert StateFile(path).read() is None


def test_its_room_is_taken_when_it_is_made(tmp_path: Path) -> None:
    path = tmp_path / "watchdog.state"
    file = StateFile(path)
    file.write(1)
    blocks = path.stat().st_blocks
    assert blocks * 512 >= 2 * SLOT_BYTES
    for _ in range(3):
        file.write("x" * 60_000)
    assert path.stat().st_blocks == blocks
    with pytest.raises(ValueError, match="too large"):
        file.write("x" * SLOT_BYTES)
