from datetime import timedelta
from typing import Any

import pytest
from django.conf import settings
from django.contrib.auth.models import Group
from django.contrib.contenttypes.models import ContentType
from django.db import IntegrityError, connection, transaction
from django.test import override_settings

from accounts import tasks
from accounts.actor import ALL_SCOPES, Actor
from accounts.admin.audit import audit_link
from accounts.api_keys import create_api_key, revoke_api_key
from accounts.audit import audit_size, audit_targets, erase_person, purge_audit_before, record_audit, search_condition
from accounts.models import AuditEntry
from accounts.permissions import user_actor
from accounts.roles import Role
from agents.models import AgentSession, BulkAction
from agents.releases import publish
from foundation.clock import now
from foundation.ids import lowest_id, new_id
from tests.support.consoles import client_of
from tests.support.people import agent, person

pytestmark = pytest.mark.django_db


def entries() -> list[tuple[str, str, str]]:
    return [(one.actor, one.action, one.target_name) for one in AuditEntry.objects.order_by("id")]


def test_publishing_and_keys_leave_an_entry_each() -> None:
    demo, owner = agent(), person("olga", Role.OWNER)
    actor = user_actor(owner)
    publish(actor, agent_id=demo.pk, expected_version=demo.draft.version, note="Shorter answers.")
    key, plain = create_api_key(actor, user=owner, name="laptop", scopes=ALL_SCOPES, expires_at=None)
    revoke_api_key(actor, key_id=key.pk)
    revoke_api_key(actor, key_id=key.pk)
    assert entries()[-3:] == [
        ("olga", "release.published", "Demo #2"),
        ("olga", "api_key.created", str(key)),
        ("olga", "api_key.revoked", str(key)),
    ]
    assert not any(plain in str(vars(one)) for one in AuditEntry.objects.all())


@pytest.mark.parametrize("change", [{"actor": "eve"}, {"detail": {}}, {"user_id": 4711}, {"action": "x"}])
def test_an_entry_is_final(change: dict[str, Any]) -> None:
    record_audit(Actor.system("tests"), "agent.archived", target=agent(), detail={"why": "test"})
    with pytest.raises(IntegrityError, match="is final"), transaction.atomic():
        AuditEntry.objects.update(**change)
    with pytest.raises(IntegrityError, match="is final"), transaction.atomic():
        AuditEntry.objects.all().delete()


@pytest.mark.parametrize("statement", ["TRUNCATE accounts_auditentry", "TRUNCATE accounts_user CASCADE"])
def test_the_trail_cannot_be_emptied(statement: str) -> None:
    with pytest.raises(IntegrityError, match="is final"), transaction.atomic(), connection.cursor() as cursor:
        cursor.execute(statement)


def test_an_account_may_be_forgotten_and_its_entries_stay() -> None:
    user = person("ada", Role.OWNER)
    entry = record_audit(user_actor(user), "agent.archived", target=agent())
    user.delete()
    entry.refresh_from_db()
    assert (entry.actor, entry.user) == ("ada", None)


def test_retention_forgets_what_is_old_and_nothing_else() -> None:
    old = record_audit(Actor.system("tests"), "agent.archived", target=agent())
    assert purge_audit_before(now() - timedelta(days=1)) == 0
    assert purge_audit_before(now() + timedelta(minutes=1)) >= 1
    assert not AuditEntry.objects.filter(pk=old.pk).exists()
    record_audit(Actor.system("tests"), "agent.archived", target=agent("other"))
    with pytest.raises(IntegrityError, match="is final"), transaction.atomic():
        AuditEntry.objects.all().delete()


def made_at(age: timedelta) -> AuditEntry:
    """An entry that is as old as that, and whose id is."""
    moment = now() - age
    row = AuditEntry(id=lowest_id(moment), at=moment, actor="ada", action="x.y", target_type="x", target_id="x")
    row.save(force_insert=True)
    return row


def test_the_job_forgets_entries_in_bites_after_the_time_that_the_setting_says(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(tasks, "AUDIT_BATCH", 2)
    for days in (731, 732, 733, 734, 735):
        made_at(timedelta(days=days))
    young = made_at(timedelta(days=729))
    assert [tasks.purge_audit(), tasks.purge_audit()] == [5, 0]
    assert list(AuditEntry.objects.all()) == [young]


def test_zero_days_keep_the_trail_for_ever() -> None:
    made_at(timedelta(days=5_000))
    with override_settings(BANDSTAND=settings.BANDSTAND.model_copy(update={"audit_days": 0})):
        assert tasks.purge_audit() == 0
    assert AuditEntry.objects.count() == 1


def test_the_trail_tells_how_far_back_it_goes_and_what_it_takes() -> None:
    assert audit_size().oldest is None
    oldest = made_at(timedelta(days=400))
    made_at(timedelta(days=1))
    told = audit_size()
    assert (told.oldest, told.entries) == (oldest.at, 2)
    assert told.size > 8_000
    page = client_of("vera", Role.VIEWER).get("/admin/accounts/auditentry/").content.decode()
    assert f"2 entries since {oldest.at:%Y-%m-%d}" in page
    assert "Entries are kept for 730 days" in page


def test_what_people_said_is_not_in_the_name_of_a_target() -> None:
    demo = agent()
    session = AgentSession(user=person("ada"), agent=demo, release=demo.live_release, title="my secret")
    assert record_audit(Actor.system("tests"), "session.forked", target=session).target_name == ""


def test_an_entry_leads_to_what_it_is_about_and_to_what_it_names() -> None:
    vera, key = client_of("vera", Role.VIEWER), new_id()
    bulk = BulkAction.objects.create(operation="cancel", user=person("ada"), targets=[], total=1)
    detail = {"new_turn": str(key), "was": "failed", "rows": 3, "bulk_action": "none"}
    entry = record_audit(Actor.system("tests"), "bulk_action.started", target=bulk, detail=detail)
    address = f"/admin/agents/bulkaction/{bulk.pk}/change/"
    assert f'href="{address}"' in vera.get("/admin/accounts/auditentry/").content.decode()
    page = vera.get(f"/admin/accounts/auditentry/{entry.pk}/change/").content.decode()
    assert f'<a class="bs-link" href="{address}">' in page
    assert f'<div>new turn: <a class="bs-link" href="/admin/agents/turn/{key}/change/">turn {key}</a></div>' in page
    assert "<div>was: failed</div>" in page
    assert "<div>rows: 3</div>" in page
    assert "<div>bulk action: none</div>" in page
    assert "<script" not in str(audit_link("user", "1", "<script>"))


def test_every_kind_of_row_leads_somewhere() -> None:
    kind = ContentType.objects.get_for_model(AgentSession)
    ids = {"contenttype": str(kind.pk)} | dict.fromkeys(("schedule", "user", "group", "memoryowner"), "1")
    for name, target in audit_targets().items():
        assert target.row_address(ids.get(name, str(new_id()))), name
    assert audit_targets()["contenttype"].row_address(str(kind.pk)) == "/admin/agents/agentsession/"
    assert audit_targets()["contenttype"].row_address("2000000") is None


def found(term: str) -> list[str]:
    condition = search_condition(term)
    assert condition is not None
    return [entry.action for entry in AuditEntry.objects.filter(condition).order_by("action")]


def test_an_entry_is_found_by_the_words_of_all_its_parts() -> None:
    demo = agent()
    demo.name = "Überblick"
    record_audit(Actor.system("tests"), "agent.archived", target=demo, detail={"note": "No more answers; O'Neill"})
    record_audit(user_actor(person("ada", Role.OWNER)), "group.renamed", target=Group(pk=7, name="on-call"))
    assert found("archived") == found("agent.archived") == found("ARCHIVED agent") == ["agent.archived"]
    assert found("überbl") == ["agent.archived"], "words may be begun, in any case and language"
    assert found("more answers note") == found("o'neill") == ["agent.archived"]
    assert found(str(demo.pk)) == found(str(demo.pk)[:13]) == ["agent.archived"]
    assert found("ada") == found("on-call") == found("call & ada") == ["group.renamed"]
    assert found("ada archived") == found("rchived") == found("“") == []
    assert search_condition(" ... ' \\ ") is None


def test_a_search_uses_its_index() -> None:
    with connection.cursor() as cursor:
        cursor.execute("SET LOCAL enable_seqscan = off")
    condition = search_condition("archived")
    assert condition is not None
    assert "audit_document" in AuditEntry.objects.filter(condition).order_by().explain()


def test_the_newest_matches_are_read_from_the_index_too() -> None:
    with connection.cursor() as cursor:
        # As PostgreSQL sees a large trail with a word that was common: it would walk back through all of it.
        cursor.execute("SET LOCAL enable_seqscan = off; SET LOCAL enable_sort = off")
    condition = search_condition("archived")
    assert condition is not None
    assert "audit_document" in AuditEntry.objects.filter(condition).order_by("-id")[:50].explain()


def test_the_page_searches_and_is_headed_by_the_act() -> None:
    vera, demo = client_of("vera", Role.VIEWER), agent()
    entry = record_audit(Actor.system("tests"), "agent.archived", target=demo)
    record_audit(Actor.system("tests"), "session.forked", target=AgentSession(pk=new_id()))

    def listed(term: str) -> list[str]:
        answer = vera.get("/admin/accounts/auditentry/", {"q": term})
        return [row.action for row in answer.context["cl"].result_list]

    assert listed("archived demo") == listed(str(entry.pk)) == ["agent.archived"]
    assert listed("x" * 201) == listed("...") == []
    page = vera.get(f"/admin/accounts/auditentry/{entry.pk}/change/")
    assert page.context["title"] == "Agent archived: Demo"


def test_the_erasure_of_a_person_replaces_their_names_and_nothing_else() -> None:
    ada, adam = person("ada", Role.OWNER), person("adam", Role.OWNER)
    ada.email = "ada@example.org"
    ada.save()
    record_audit(user_actor(ada), "agent.archived", target=agent(), detail={"note": "as ada said"})
    record_audit(user_actor(adam), "user.closed", target=ada)
    record_audit(
        user_actor(adam),
        "api_key.revoked",
        target=agent("b"),
        detail={"user": "ada", "to": ["ada@example.org", "adam"]},
    )
    record_audit(user_actor(adam), "user.reopened", target=adam)
    before = list(AuditEntry.objects.order_by("id").values_list("id", "at", "action", "target_type", "target_id"))
    assert erase_person(ada, pseudonym="erased person 1") >= 3
    assert (
        list(AuditEntry.objects.order_by("id").values_list("id", "at", "action", "target_type", "target_id")) == before
    )
    rows = {row.action: row for row in AuditEntry.objects.all()}
    assert (rows["agent.archived"].actor, rows["user.closed"].target_name) == ("erased person 1", "erased person 1")
    assert rows["api_key.revoked"].detail == {"user": "erased person 1", "to": ["erased person 1", "adam"]}
    assert (rows["user.reopened"].actor, rows["user.reopened"].target_name) == ("adam", "adam")
    assert found("adam") == ["api_key.revoked", "user.closed", "user.reopened"]
    with pytest.raises(IntegrityError, match="is final"), transaction.atomic():
        AuditEntry.objects.update(actor="eve")


def test_the_erasure_of_a_person_leaves_the_names_of_details() -> None:
    """Which may be spelled as theirs."""
    user = person("user", Role.OWNER)
    before = {"user": "user", "to": {"user": ["user", "adam"]}, "users": 1}
    entry = record_audit(Actor.system("tests"), "api_key.revoked", target=agent(), detail=before)
    erase_person(user, pseudonym="erased person 1")
    entry.refresh_from_db()
    assert entry.detail == {"user": "erased person 1", "to": {"user": ["erased person 1", "adam"]}, "users": 1}
