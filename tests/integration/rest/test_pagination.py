"""Pages of the REST interface over real rows: nothing skipped, nothing twice, and cursors that cannot be made up."""

from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
from django.db.models import QuerySet
from django.test import RequestFactory

from agents.models import Runner
from foundation.clock import now
from rest.pagination import Order, paginate

pytestmark = pytest.mark.django_db

BY_PID = Order("pids", ("pid", "id"))
BY_PID_DESCENDING = Order("pids", ("pid", "id"), descending=True)
BY_MOMENT = Order("moments", ("heartbeat_at", "id"), descending=True)
FACTORY = RequestFactory()


def runners(count: int) -> QuerySet[Runner]:
    """Three of them share each pid and each moment: the id decides."""
    for number in range(count):
        Runner.objects.create(host=str(number), pid=number // 3, capacity=1, heartbeat_at=now())
    return Runner.objects.all()


def get(rows: QuerySet[Runner], order: Order, address: str | None, limit: int) -> dict[str, Any]:
    query = {name: values[0] for name, values in parse_qs(urlsplit(address or "").query).items()}
    cursor = order.cursor_parameter()(query["cursor"]) if "cursor" in query else None
    request = FACTORY.get("/list", query)
    return paginate(request, rows, order=order, limit=limit, cursor=cursor, shape=lambda row: row.host)


@pytest.mark.parametrize("order", [BY_PID, BY_PID_DESCENDING, BY_MOMENT], ids=["ascending", "descending", "moments"])
@pytest.mark.parametrize("limit", [1, 2, 5, 10, 11, 100])
def test_pages_in_both_directions_give_every_row_once(order: Order, limit: int) -> None:
    rows = runners(10)
    fields = [f"-{field}" if order.descending else field for field in order.fields]
    expected = list(rows.order_by(*fields).values_list("host", flat=True))
    forward, page = [], get(rows, order, None, limit)
    assert page["previous"] is None
    forward += page["results"]
    while page["next"]:
        page = get(rows, order, page["next"], limit)
        assert page["results"], "a next page is never empty"
        forward += page["results"]
    assert forward == expected
    backward = page["results"]
    while page["previous"]:
        page = get(rows, order, page["previous"], limit)
        assert page["results"]
        backward = page["results"] + backward
    assert backward == expected


def test_rows_that_come_meanwhile_shift_no_page() -> None:
    rows = runners(6)
    first = get(rows, BY_PID, None, 3)
    Runner.objects.create(host="new", pid=-1, capacity=1)
    assert get(rows, BY_PID, first["next"], 3)["results"] == ["3", "4", "5"]


def test_an_empty_list_is_one_empty_page() -> None:
    assert get(runners(0), BY_PID, None, 3) == {"results": [], "next": None, "previous": None}


def test_the_address_of_the_next_page_keeps_the_other_parameters() -> None:
    page = paginate(
        FACTORY.get("/list?agent=demo&limit=1"), runners(2), order=BY_PID, limit=1, shape=lambda row: row.host
    )
    query = parse_qs(urlsplit(page["next"]).query)
    assert (query["agent"], query["limit"]) == (["demo"], ["1"])


def test_one_query_makes_a_page(django_assert_num_queries: Any) -> None:
    rows = runners(5)
    with django_assert_num_queries(1):
        get(rows, BY_PID, None, 2)


@pytest.mark.parametrize("forged", ["", "x", "WzAsWzAsMF1d", "a:b:c", "\x00", "é", "=" * 5000])
def test_a_cursor_of_somebodys_own_making_is_refused(forged: str) -> None:
    with pytest.raises(ValueError, match="not a cursor"):
        BY_PID.cursor_parameter()(forged)


def test_a_cursor_of_another_list_is_refused() -> None:
    page = get(runners(2), BY_PID, None, 1)
    cursor = parse_qs(urlsplit(page["next"]).query)["cursor"][0]
    with pytest.raises(ValueError, match="not a cursor"):
        BY_MOMENT.cursor_parameter()(cursor)
