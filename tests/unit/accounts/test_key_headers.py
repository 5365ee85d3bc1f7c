"""One reader of the headers that hold an API key, for HTTP and websockets."""

import pytest

from accounts.key_headers import join_headers, read_api_key


@pytest.mark.parametrize(
    ("authorization", "x_api_key", "key"),
    [
        (None, None, None),
        ("Bearer k", None, "k"),
        ("bearer  k ", None, "k"),
        (None, " k ", "k"),
        ("Bearer k", "k", "k"),
        ("Bearer k", "other", ""),
        ("Bearer k", "", ""),
        ("Basic k", None, ""),
        ("Basic k", "k", ""),
        ("", "k", ""),
        ("Bearer", None, ""),
        (None, "", ""),
    ],
)
def test_a_key_is_read_or_refused(authorization: str | None, x_api_key: str | None, key: str | None) -> None:
    assert read_api_key(authorization, x_api_key) == key


def test_headers_of_one_name_are_joined_as_django_joins_them() -> None:
    headers = [(b"x-api-key", b"a"), (b"cookie", b"x=1"), (b"x-api-key", b"b"), (b"cookie", b"y=2"), (b"host", b"h")]
    assert join_headers(headers) == {b"x-api-key": b"a,b", b"cookie": b"x=1; y=2", b"host": b"h"}
