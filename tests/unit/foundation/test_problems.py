import pytest

from foundation.problems import problem, status_phrase


@pytest.mark.parametrize(
    ("status", "phrase"),
    [
        (404, "Not Found"),
        (413, "Request Entity Too Large"),
        (414, "Request-URI Too Long"),
        (416, "Requested Range Not Satisfiable"),
        (422, "Unprocessable Entity"),
        (428, "Precondition Required"),
    ],
)
def test_a_status_has_the_same_name_on_every_python(status: int, phrase: str) -> None:
    assert status_phrase(status) == phrase
    assert problem(status, code="x", detail="x", request_id="x")["title"] == phrase


def test_a_number_that_is_no_status_has_no_name() -> None:
    with pytest.raises(ValueError, match="299"):
        status_phrase(299)
