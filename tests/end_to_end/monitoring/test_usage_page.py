"""The page of usage: who sees it, where its numbers lead, and its file."""

from __future__ import annotations

import csv
import io
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest
from django.contrib.auth.models import Group, Permission
from django.test import Client

from accounts.models import AuditEntry
from accounts.roles import Role
from agents.journal.usage_rollups import NO_ID
from agents.models import UsageRollup
from foundation.clock import now
from tests.support.consoles import changelist_of, client_of
from tests.support.conversations import conversation
from tests.support.past_turns import past_turn
from tests.support.people import person

pytestmark = pytest.mark.django_db

PAGE = "/admin/usage/"
# Login and permissions, the two readings of usage, names, and what there is to choose from.
BUDGET = 16


def moment() -> datetime:
    """Noon of yesterday, in UTC."""
    return now().astimezone(UTC).replace(hour=12, minute=0, second=0, microsecond=0) - timedelta(days=1)


def days() -> str:
    return f"since={moment():%Y-%m-%d}&until={moment():%Y-%m-%d}"


def rows(context: Any) -> dict[str, dict[str, Any]]:
    return {row.name: {cell.label: cell for cell in row.cells} for row in context["table"].rows}


def use() -> Group:
    """Three turns of two people, one of whom is in a group; side work; turns of the day before and the one after."""
    ada, bob = conversation("ada", slug="one").row, conversation("bob", slug="two").row
    sales = Group.objects.create(name="=sales")
    ada.user.groups.add(sales)
    for cost in (Decimal(1), None):
        past_turn(ada, ended_at=moment(), cost_usd=cost, input_tokens=100, output_tokens=10)
    past_turn(bob, ended_at=moment(), cost_usd=Decimal(5), input_tokens=100, output_tokens=10)
    midnight = moment().replace(hour=0)
    past_turn(bob, ended_at=midnight - timedelta(milliseconds=1), cost_usd=Decimal(7))
    past_turn(bob, ended_at=midnight + timedelta(days=1), cost_usd=Decimal(7))
    UsageRollup.objects.create(
        at=midnight, user_id=bob.user_id, agent_id=NO_ID, release_id=NO_ID, purpose="embeddings", calls=1,
        input_tokens=5, output_tokens=0, cost_usd=Decimal(0), cost_unknown=0,
    )  # fmt: skip
    return sales


def test_every_number_with_a_link_leads_to_its_rows() -> None:
    sales = use()
    vera = client_of("vera", Role.VIEWER)
    context = vera.get(f"{PAGE}?since={moment() - timedelta(days=1):%Y-%m-%d}&by=day").context
    by_day = rows(context)
    assert by_day[f"{moment():%Y-%m-%d}"]["Turns"].text == "3"
    seen = [context]
    seen += [vera.get(f"{PAGE}?{days()}&by={by}").context for by in ("agent", "release", "user")]
    seen += [vera.get(f"{PAGE}?{days()}&user=ada").context]
    for context in seen:
        for row in rows(context).values():
            cell = row["Turns"]
            if cell.address:
                assert len(changelist_of(vera, cell.address).result_list) == int(cell.text)
        [turns] = [metric for metric in context["metrics"] if metric.name == "Turns"]
        assert len(changelist_of(vera, turns.address).result_list) == int(turns.value)
    by_user = rows(vera.get(f"{PAGE}?{days()}&by=user").context)
    assert list(by_user) == ["bob", "ada"], "the most expensive first"
    assert (by_user["ada"]["Turns"].text, by_user["ada"]["Cost"].text) == ("2", "≥ $1.00")
    assert (by_user["bob"]["Cost"].text, by_user["bob"]["Side work"].text) == ("$5.00", "1")
    by_group = rows(vera.get(f"{PAGE}?{days()}&by=group").context)
    assert (by_group["=sales"]["Turns"].text, by_group["in no group"]["Turns"].text) == ("2", "1")
    members = rows(vera.get(by_group["=sales"]["Turns"].address).context)
    assert {name: row["Turns"].text for name, row in members.items()} == {"ada": "2"}
    assert by_group["=sales"]["Turns"].address.endswith(f"group={sales.pk}")


def test_the_file_has_the_numbers_of_the_page_and_leaves_an_entry_in_the_audit_trail() -> None:
    use()
    address = f"{PAGE}?{days()}&by=group"
    vera, olga = client_of("vera", Role.VIEWER), client_of("olga", Role.OPERATOR)
    assert "Download" not in vera.get(address).content.decode()
    assert vera.post(address).status_code == 403
    assert olga.get(address).context["may_download"]
    answer = olga.post(address)
    assert answer["Content-Type"] == "text/csv; charset=utf-8"
    table = list(csv.DictReader(io.StringIO(answer.content.decode("utf-8-sig"))))
    assert [(row["name"], row["turns"], row["cost_usd"], row["cost_unknown"]) for row in table] == [
        ("in no group", "1", "5.00000000", "0"), ("'=sales", "2", "1.00000000", "1"),
    ]  # fmt: skip
    assert [row["side_calls"] for row in table] == ["1", "0"]
    entry = AuditEntry.objects.get(action="list.exported")
    assert (entry.target_name, entry.detail["filters"]["by"]) == ("Usage", "group")


@pytest.mark.parametrize(
    "query",
    ["since=x", "since=2026-02-01&until=2026-01-01", "by=status", "agent=x", "release=1", "user=nobody", "group=x",
     "until=9999-12-31", "agent=01a22cf1-81f6-73b4-b26b-9ad255ec04de", "group=99999999999999999999"],
)  # fmt: skip
def test_an_address_that_asks_for_what_there_is_not_is_refused(query: str) -> None:
    assert client_of("vera", Role.VIEWER).get(f"{PAGE}?{query}").status_code == 400


def test_who_may_not_see_turns_is_refused() -> None:
    eve = person("eve")
    eve.user_permissions.add(Permission.objects.get(codename="enter_console"))
    client = Client()
    client.force_login(eve)
    assert (client.get(PAGE).status_code, client.post(PAGE).status_code) == (403, 403)


def test_the_page_stays_within_its_budget(django_assert_max_num_queries: Any) -> None:
    for number in range(6):
        past_turn(conversation("ada", slug=f"agent-{number}").row, ended_at=moment())
    owner = client_of("olga", Role.OWNER)
    with django_assert_max_num_queries(BUDGET):
        page = owner.get(f"{PAGE}?{days()}").content.decode()
    assert page.count('<th scope="row">') == 6
