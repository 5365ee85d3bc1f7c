import pytest

from agents.ws.origins import origin_allowed

OWN = "http://localhost:8000"
TRUSTED = ["https://chat.example.com", "https://*.example.org", "https://other.example.com:8443"]


@pytest.mark.parametrize(
    "origin",
    [
        "http://localhost:8000",
        "https://chat.example.com",
        "https://chat.example.com:443",
        "https://a.example.org",
        "https://a.b.example.org",
        "https://other.example.com:8443",
    ],
)
def test_our_own_pages_may_open_a_socket(origin: str) -> None:
    assert origin_allowed(origin, own_origin=OWN, trusted_origins=TRUSTED)


@pytest.mark.parametrize(
    "origin",
    [
        "",
        "null",
        "http://localhost",
        "http://localhost:8001",
        "https://localhost:8000",
        "http://chat.example.com",
        "https://chat.example.com:8443",
        "https://other.example.com",
        "https://example.org",
        "https://evil-example.org",
        "https://chat.example.com.evil.test",
        "https://chat.example.com@evil.test",
        "https://chat.example.com/path",
        "https://chat.example.com:port",
        "http://[::1",
        "file://",
        "chrome-extension://chat.example.com",
    ],
)
def test_other_pages_may_not(origin: str) -> None:
    assert not origin_allowed(origin, own_origin=OWN, trusted_origins=TRUSTED)


def test_without_an_origin_of_our_own_only_the_trusted_ones_count() -> None:
    assert not origin_allowed(OWN, own_origin=None, trusted_origins=TRUSTED)
    assert origin_allowed("https://chat.example.com", own_origin=None, trusted_origins=TRUSTED)
