"""Files that only their owner may read, whatever the umask is, and that are never there by half."""

import os
import stat
from collections.abc import Iterator
from pathlib import Path

import pytest

from foundation.private_files import open_private, write_once, write_private


@pytest.fixture(autouse=True)
def no_umask() -> Iterator[None]:
    before = os.umask(0)
    yield
    os.umask(before)


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def test_a_file_is_replaced_as_a_whole_and_becomes_private(tmp_path: Path) -> None:
    path = tmp_path / "secret"
    path.write_text("a longer one, for everybody")
    write_private(path, "é\n")
    assert (path.read_text(encoding="utf-8"), mode(path)) == ("é\n", 0o600)
    assert list(tmp_path.iterdir()) == [path]


def test_what_a_process_left_that_died_while_it_wrote_is_in_nobodys_way(tmp_path: Path) -> None:
    path = tmp_path / "secret"
    (tmp_path / f"secret.{os.getpid()}.draft").write_text("half")
    write_private(path, "whole")
    assert path.read_text() == "whole"
    assert list(tmp_path.iterdir()) == [path]


def test_a_file_that_is_written_once_stays(tmp_path: Path) -> None:
    path = tmp_path / "secret"
    write_once(path, "first")
    write_once(path, "second")
    assert (path.read_text(), mode(path)) == ("first", 0o600)
    assert list(tmp_path.iterdir()) == [path]


def test_a_log_goes_on_or_begins_anew(tmp_path: Path) -> None:
    path = tmp_path / "log"
    for opened, line, content in (
        ("ab", b"one\n", b"one\n"),
        ("ab", b"two\n", b"one\ntwo\n"),
        ("wb", b"new\n", b"new\n"),
    ):
        with open_private(path, opened) as log:  # type: ignore[arg-type]
            log.write(line)
        assert (path.read_bytes(), mode(path)) == (content, 0o600)
