"""Style sheets, scripts and fonts: how they are copied, under which addresses, and for how long browsers keep them."""

from __future__ import annotations

import gzip
import os
import re
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import brotli
import pytest
from django.templatetags.static import static

from bandstand import static_collection
from bandstand.data_dir import STATIC_FOLDER, claim
from bandstand.icon_font import ICON_FONT
from bandstand.static_collection import collect, copies, files, version
from bandstand.web.static_files import StaticFiles

SCRIPT = "bandstand/chat/main.js"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the copy of today."""
    folder = tmp_path_factory.mktemp("static")
    collect(folder)
    return folder


@pytest.fixture
def without_icons(monkeypatch: pytest.MonkeyPatch) -> None:
    """To cut the icon font takes most of the time of a copy; `folder` has it."""
    rest = {name: path for name, path in files().items() if name != ICON_FONT}
    version()
    monkeypatch.setattr(static_collection, "files", lambda: rest)


class Answer:
    """What came of a request for `path`: its status (0: the application was asked), headers and body."""

    def __init__(self) -> None:
        self.status = 0
        self.headers: dict[str, str] = {}
        self.body = b""

    async def send(self, message: dict[str, Any]) -> None:
        self.status = message.get("status", self.status)
        self.headers |= {name.decode(): value.decode() for name, value in message.get("headers", [])}
        self.body += message.get("body", b"")


async def get(folder: Path, path: str, method: str = "GET", **headers: str) -> Answer:
    async def application(_scope: Any, _receive: Any, _send: Any) -> None:
        """It has no answer."""

    async def receive() -> dict[str, Any]:
        return {"type": "http.request", "body": b"", "more_body": False}

    answer = Answer()
    named = [(name.replace("_", "-").encode(), value.encode()) for name, value in headers.items()]
    scope = {"type": "http", "method": method, "path": path, "headers": named}
    await StaticFiles(application, folder=folder, prefix="/static/")(scope, receive, answer.send)
    return answer


def test_the_address_of_a_file_has_the_version_of_all() -> None:
    assert re.fullmatch(r"[0-9a-f]{12}", version())
    assert static(SCRIPT) == f"/static/{version()}/{SCRIPT}"


def test_the_version_is_another_when_one_byte_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "a.css").write_text("a {}")
    seen = {version()}
    monkeypatch.setattr(static_collection, "files", lambda: {**files(), "a.css": tmp_path / "a.css"})
    for text in ("a {}", "b {}"):
        (tmp_path / "a.css").write_text(text)
        seen.add(static_collection.version.__wrapped__())
    assert len(seen) == 3


def test_a_copy_holds_every_file_and_what_can_be_smaller_twice_more(folder: Path) -> None:
    copy = folder / version()
    for name, path in files().items():
        assert name == ICON_FONT or (copy / name).read_bytes() == path.read_bytes(), name
    script = (copy / SCRIPT).read_bytes()
    assert gzip.decompress((copy / f"{SCRIPT}.gz").read_bytes()) == script
    assert brotli.decompress((copy / f"{SCRIPT}.br").read_bytes()) == script
    assert not (copy / f"{ICON_FONT}.br").exists()  # it is compressed already


@pytest.mark.usefixtures("without_icons")
def test_two_that_copy_at_once_end_with_one_whole_copy(tmp_path: Path) -> None:
    with ThreadPoolExecutor(3) as pool:
        made = list(pool.map(collect, [tmp_path] * 3))
    assert [path.name for path in tmp_path.iterdir()] == [version()]
    assert made == [tmp_path / version()] * 3
    assert (made[0] / f"{SCRIPT}.br").exists()


@pytest.mark.usefixtures("without_icons")
def test_the_copies_that_were_used_last_are_kept(tmp_path: Path) -> None:
    for age in range(5):
        old = tmp_path / f"{age:012x}"
        old.mkdir()
        os.utime(old, (1_000_000 - age, 1_000_000 - age))
    collect(tmp_path)
    assert [path.name for path in copies(tmp_path)] == [version(), f"{0:012x}", f"{1:012x}"]


@pytest.mark.parametrize(("accepted", "encoding"), [("gzip, deflate, br", "br"), ("gzip", "gzip"), ("", None)])
async def test_a_file_comes_compressed_as_the_browser_likes(folder: Path, accepted: str, encoding: str | None) -> None:
    answer = await get(folder, static(SCRIPT), accept_encoding=accepted)
    assert answer.status == 200
    assert answer.headers.get("content-encoding") == encoding
    assert answer.headers["content-length"] == str(len(answer.body))
    assert answer.headers["vary"] == "Accept-Encoding"
    assert answer.headers["content-type"] == 'text/javascript; charset="utf-8"'
    decode = {"br": brotli.decompress, "gzip": gzip.decompress, None: bytes}[encoding]
    assert decode(answer.body) == files()[SCRIPT].read_bytes()


async def test_a_browser_keeps_what_has_a_version_for_ever(folder: Path) -> None:
    answer = await get(folder, static(SCRIPT))
    assert answer.headers["cache-control"] == "max-age=315360000, public, immutable"
    for tag in (answer.headers["etag"], f"W/{answer.headers['etag']}"):  # a proxy that compresses makes it weak
        again = await get(folder, static(SCRIPT), if_none_match=tag)
        assert (again.status, again.body) == (304, b""), tag


async def test_an_address_without_a_version_is_kept_for_a_minute(folder: Path) -> None:
    answer = await get(folder, f"/static/{SCRIPT}")
    assert (answer.status, answer.headers["cache-control"]) == (200, "max-age=60, public")


async def test_a_version_that_is_elsewhere_gets_what_is_here_and_nobody_keeps_it(folder: Path) -> None:
    answer = await get(folder, f"/static/{'0' * 12}/{SCRIPT}")
    assert (answer.status, answer.headers["cache-control"]) == (200, "no-store")
    assert answer.body == files()[SCRIPT].read_bytes()


@pytest.mark.usefixtures("without_icons")
async def test_an_older_copy_is_served_as_it_was(tmp_path: Path) -> None:
    (tmp_path / ("0" * 12)).mkdir()
    (tmp_path / ("0" * 12) / "gone.js").write_text("old")
    answer = await get(tmp_path, f"/static/{'0' * 12}/gone.js")
    assert (answer.status, answer.body) == (200, b"old")
    assert "immutable" in answer.headers["cache-control"]


@pytest.mark.parametrize("path", ["gone.js", "../bandstand.id", f"{'0' * 12}/gone.js", "", f"{SCRIPT}.br"])
async def test_what_is_no_file_goes_to_the_application(folder: Path, path: str) -> None:
    assert (await get(folder, f"/static/{path}")).status == 0


async def test_a_file_takes_no_post(folder: Path) -> None:
    assert (await get(folder, static(SCRIPT), "POST")).status == 405


@pytest.mark.usefixtures("without_icons")
def test_a_folder_with_nothing_but_static_files_may_be_claimed(tmp_path: Path) -> None:
    collect(tmp_path / STATIC_FOLDER)
    assert claim(tmp_path)
