"""What the environment says of the receiver."""

import pytest

from monitoring.otlp.otlp_settings import read_headers


def test_headers_are_read_as_opentelemetry_writes_them() -> None:
    assert read_headers("x-key=a%20b, Authorization=Bearer%20c==,") == {"x-key": "a b", "Authorization": "Bearer c=="}
    assert read_headers("") == {}


@pytest.mark.parametrize("text", ["x", "=x", "a b=c", "a:b=c", "ä=c", "a=b%0d%0aSet-Cookie:x", "a=%00"])
def test_what_is_no_header_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="must"):
        read_headers(text)
